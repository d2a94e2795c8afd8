"""A quick form of the soak for leaks; memory itself only settles after many more callbacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.memory import MOST_POOLED_FILES, Reading, growth, measure
from tests.support.cases import each_case

A_READING = Reading(handled=1, rss_kib=100_000, threads=30, files=20)


@pytest.mark.process
def test_threads_and_files_stay_the_same(tmp_path: Path) -> None:
    first, _, last = measure(3_000, tmp_path, lambda _: None)
    assert last.threads <= first.threads
    assert last.files <= first.files + MOST_POOLED_FILES


@each_case(
    ("last", "found"),
    [
        pytest.param(A_READING, [], id="nothing"),
        pytest.param(replace(A_READING, rss_kib=104_900), [], id="within-a-twentieth"),
        pytest.param(replace(A_READING, rss_kib=106_000), ["memory grew by 6.0%"], id="memory"),
        pytest.param(replace(A_READING, threads=31), ["1 more threads"], id="a-thread"),
        pytest.param(replace(A_READING, files=28), [], id="connections-of-the-pool"),
        pytest.param(replace(A_READING, files=29), ["9 more open files"], id="files"),
    ],
)
def test_growth_is_noticed(last: Reading, found: list[str]) -> None:
    assert growth([A_READING, A_READING, last]) == found
