"""The files of a SQLite store are deleted or replaced while it is open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from listener.core.errors import StoreUnavailable
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.sqlite import new_sqlite
from tests.support.stores import count, results

VACUUM = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
    connection.execute(statement).fetchall()
connection.close()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    new_sqlite(tmp_path / "store.db")
    return tmp_path / "store.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqlStore]:
    with closing(SqlStore.open(f"sqlite:///{file}")) as store:
        record(store, "before")
        yield store


def record(store: SqlStore, prefix: str) -> None:
    store.record(decoded_messages(1, prefix=prefix), routes_all(), at=NOON)


def part(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def replace_by_a_copy(file: Path) -> None:
    copy = part(file, ".copy")
    shutil.copy(file, copy)
    copy.rename(file)


@pytest.fixture
def permissive_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(file: Path) -> list[int]:
    return [part(file, ending).stat().st_mode & 0o777 for ending in ("", "-wal", "-shm")]


@pytest.mark.usefixtures("permissive_umask")
def test_the_files_of_a_new_store_are_for_their_owner_only(tmp_path: Path) -> None:
    file, link = tmp_path / "store.db", tmp_path / "link.db"
    link.symlink_to(file)
    with closing(SqlStore.open(f"sqlite:///{link}")) as store:
        record(store, "first")

        assert modes(file) == [0o600] * 3


@pytest.mark.usefixtures("permissive_umask")
def test_an_existing_file_keeps_its_mode(file: Path) -> None:
    file.chmod(0o640)
    with closing(SqlStore.open(f"sqlite:///{file}")) as store:
        record(store, "first")

        assert modes(file) == [0o640] * 3


@pytest.mark.parametrize(
    ("ending", "harm"),
    [
        pytest.param("", Path.unlink, id="deleted"),
        pytest.param("", replace_by_a_copy, id="replaced"),
        pytest.param("-wal", Path.unlink, id="log-deleted"),
        pytest.param("-wal", replace_by_a_copy, id="log-replaced"),
        pytest.param("-shm", Path.unlink, id="index-deleted"),
        pytest.param("-shm", replace_by_a_copy, id="index-replaced"),
    ],
)
def test_without_its_files_the_store_is_unavailable_and_says_why(
    file: Path, store: SqlStore, ending: str, harm: Callable[[Path], None]
) -> None:
    harm(part(file, ending))

    expected = rf"store\.db{ending} was deleted or replaced while it was open; restart the daemon or restore"
    for use in (lambda: record(store, "after"), store.outstanding):
        with pytest.raises(StoreUnavailable, match=expected):
            use()


def test_a_commit_to_a_file_that_is_deleted_meanwhile_does_not_count(file: Path, store: SqlStore) -> None:
    event.listen(store.database.engine, "commit", lambda _connection: file.unlink())

    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        record(store, "meanwhile")


def test_files_that_are_moved_away_and_back_are_used_again(file: Path, store: SqlStore) -> None:
    names = [part(file, ending) for ending in ("", "-wal", "-shm")]
    for name in names:
        name.rename(part(name, ".away"))
    # The only connection so far is kept for writing, so that another one is needed, which must not create a new file.
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        store.outstanding()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        record(store, "away")
    assert not file.exists()
    for name in names:
        part(name, ".away").rename(name)
    record(store, "back")

    assert count(store, results) == 2


def test_a_link_to_the_file_that_points_elsewhere_is_noticed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(file)
    with closing(SqlStore.open(f"sqlite:///{link}")) as store:
        record(store, "before")
        assert not part(link, "-wal").exists()
        new_sqlite(tmp_path / "other.db")
        link.unlink()
        link.symlink_to(tmp_path / "other.db")

        with pytest.raises(StoreUnavailable, match=r"link\.db was deleted or replaced"):
            record(store, "after")


def test_other_programs_may_vacuum_truncate_and_close_the_database(file: Path, store: SqlStore) -> None:
    """Also while none of our connections is in use: the last one to close would delete the write-ahead log."""
    store.database.engine.dispose()
    subprocess.run([sys.executable, "-c", VACUUM, str(file)], check=True)
    record(store, "after")

    assert part(file, "-wal").exists()
    assert count(store, results) == 2


def test_a_log_that_was_deleted_is_not_lost_by_an_orderly_close(file: Path) -> None:
    with closing(SqlStore.open(f"sqlite:///{file}")) as store:
        record(store, "before")
        part(file, "-wal").unlink()

    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (1,)


def test_nothing_stays_open(file: Path) -> None:
    with closing(SqlStore.open(f"sqlite:///{file}")) as store:
        record(store, "before")

    assert not [name for name in os.listdir(file.parent) if name != file.name]
