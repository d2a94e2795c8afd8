"""How far the limit of open files is raised."""

from __future__ import annotations

import resource
import subprocess

import pytest

from listener.runtime import open_files
from listener.runtime.open_files import ENOUGH, raise_open_file_limit, restore_open_file_limit

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        pytest.param(1024, 4096, 4096, id="to-the-hard-limit"),
        pytest.param(1024, 1 << 30, ENOUGH, id="to-what-is-enough"),
        pytest.param(1024, NO_LIMIT, ENOUGH, id="no-hard-limit"),
        pytest.param(4096, 4096, None, id="already-there"),
        pytest.param(ENOUGH * 2, ENOUGH * 4, None, id="more-than-enough"),
        pytest.param(NO_LIMIT, NO_LIMIT, None, id="no-limit"),
    ],
)
def test_the_soft_limit_is_raised_but_never_lowered(
    soft: int, hard: int, raised: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    raised_from: list[int] = []
    monkeypatch.setattr(open_files, "_raised_from", raised_from)
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _limit, values: calls.append(values))
    raise_open_file_limit()

    assert calls == ([] if raised is None else [(raised, hard)])
    assert raised_from == ([] if raised is None else [soft])


def test_a_program_that_has_ended_has_no_limit_to_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(open_files, "_raised_from", [256])

    restore_open_file_limit(ended.pid)
