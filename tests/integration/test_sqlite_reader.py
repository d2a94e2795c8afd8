"""Reading a SQLite store without write access, and without a trace, whether or not another process has it open."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from listener.core.errors import StoreUnavailable
from listener.store.sql_store import SqlStore
from listener.store.tables import results
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.sqlite import new_sqlite
from tests.support.stores import count
from tests.support.unprivileged import no_access, open_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def url(folder: Path) -> str:
    url = new_sqlite(folder / "store.db")
    with closing(SqlStore.open(url)) as store:
        store.record(decoded_messages(3), routes_all(), at=NOON)
    return url


def found_by_reader(url: str) -> int:
    with closing(SqlStore.open_existing(url, read_only=True)) as store:
        return count(store, results)


def traces(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_store_that_is_not_in_use_is_read_without_a_trace(folder: Path, url: str) -> None:
    before = traces(folder)

    assert found_by_reader(url) == 3
    assert traces(folder) == before
    assert list(before) == ["store.db"]


def test_a_store_that_is_not_in_use_is_read_without_write_access(folder: Path, url: str) -> None:
    with no_access(folder, mode=0o555):
        assert found_by_reader(url) == 3


def test_a_store_in_use_is_read_without_write_access(folder: Path, url: str) -> None:
    with closing(SqlStore.open(url)) as writer:
        writer.record(decoded_messages(5), routes_all(), at=NOON)
        in_wal = count(writer, results)
        with no_access(folder, mode=0o555):
            assert found_by_reader(url) == in_wal == 5


def test_what_a_crash_left_in_the_log_is_read_without_write_access(folder: Path, url: str) -> None:
    crashed = folder / "crashed"
    crashed.mkdir()
    with closing(SqlStore.open(url)) as writer:
        writer.record(decoded_messages(5), routes_all(), at=NOON)
        for path in folder.glob("store.db*"):
            shutil.copy(path, crashed)
    with no_access(crashed, mode=0o555):
        assert found_by_reader(f"sqlite:///{crashed}/store.db") == 5


def test_a_file_that_changes_while_it_is_read_as_unchanging_is_noticed(folder: Path, url: str) -> None:
    def read_beside_a_writer() -> None:
        with reader.database.read(), closing(sqlite3.connect(folder / "store.db")) as writer, writer:
            writer.execute("DELETE FROM deliveries")
            # Closing it moves the log into the file.

    os.utime(folder / "store.db", (0, 0))  # else the change may have the same time
    with closing(SqlStore.open_existing(url, read_only=True)) as reader:
        with pytest.raises(StoreUnavailable, match="began to write to it while it was read; retry"):
            read_beside_a_writer()
        assert count(reader, results) == 3


def test_a_link_is_read_as_the_file_that_it_refers_to(folder: Path, url: str) -> None:
    (folder / "link.db").symlink_to("store.db")
    with closing(SqlStore.open(url)) as writer:
        writer.record(decoded_messages(5), routes_all(), at=NOON)
        assert found_by_reader(f"sqlite:///{folder}/link.db") == 5


def test_a_path_with_characters_that_mean_something_in_a_uri_is_read(folder: Path) -> None:
    odd = folder / "50% #1"
    odd.mkdir()

    assert found_by_reader(new_sqlite(odd / "store.db")) == 0
