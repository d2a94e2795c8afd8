"""A store that this user has no permission for is a matter of configuration: it does not pass by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.core.errors import SettingsError
from listener.core.exit_codes import ExitCode
from listener.store.daemon_lock import DaemonLock
from listener.store.preflight import found_schema
from listener.store.sql_store import SqlStore
from tests.support.sqlite import new_sqlite
from tests.support.unprivileged import no_access, open_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def check(url: str) -> None:
    found_schema(url, timeout=timedelta(seconds=1))


@pytest.mark.parametrize("use", [SqlStore.open, DaemonLock.acquire, check], ids=["open", "lock", "check"])
@pytest.mark.parametrize(
    ("exists", "mode", "files", "named"),
    [
        pytest.param(False, 0o555, 0o666, "", id="new-file-in-a-folder-of-others"),
        pytest.param(True, 0o555, 0o666, "", id="file-in-a-folder-of-others"),
        pytest.param(True, 0o777, 0o444, "/store.db", id="file-of-others"),
    ],
)
def test_a_store_that_cannot_be_written_for_lack_of_permission_is_refused_with_the_way_out(
    folder: Path, use: Callable[[str], Any], exists: bool, mode: int, files: int, named: str
) -> None:
    url = new_sqlite(folder / "store.db") if exists else f"sqlite:///{folder}/store.db"

    with (
        no_access(folder, mode=mode, files=files),
        pytest.raises(
            SettingsError, match=f"no permission to write to {folder}{named}; change its"
        ) as refused,
    ):
        use(url)
    assert refused.value.exit_code is ExitCode.CONFIG


def test_a_store_that_cannot_be_read_for_lack_of_permission_is_refused(folder: Path) -> None:
    url = new_sqlite(folder / "store.db")

    with (
        no_access(folder, mode=0o755, files=0o000),
        pytest.raises(SettingsError, match=r"no permission to read .*store\.db; change its"),
    ):
        SqlStore.open_existing(url, read_only=True)


def test_a_folder_that_cannot_be_written_is_no_obstacle_for_those_who_only_read(folder: Path) -> None:
    url = new_sqlite(folder / "store.db")

    with no_access(folder, mode=0o555):
        SqlStore.open_existing(url, read_only=True).close()
