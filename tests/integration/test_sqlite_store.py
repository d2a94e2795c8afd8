"""What can be wrong with a SQLite file, and how it is reported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from listener.core.errors import SettingsError, StoreUnavailable
from listener.store import database
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_decoded_message, routes_all


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def opened(file: Path, options: str = "") -> SqlStore:
    return SqlStore.open(f"sqlite:///{file}{options}")


def test_a_file_that_cannot_be_opened_is_named_with_the_way_out(file: Path) -> None:
    file.mkdir()

    with pytest.raises(
        StoreUnavailable, match=r"store\.db: unable to open database file; check that .*writable"
    ):
        opened(file)


def test_a_file_that_cannot_be_written_is_named_with_the_way_out(file: Path) -> None:
    with closing(opened(file)) as store:
        with store.database.engine.connect() as connection:  # the pool's only one; root may write everywhere
            connection.exec_driver_sql("PRAGMA query_only = ON")

        with pytest.raises(StoreUnavailable, match=r"store\.db.*readonly database; check that .*writable"):
            store.record([a_decoded_message()], routes_all(), at=NOON)


def test_a_file_that_is_no_database_is_named_with_the_way_out(file: Path) -> None:
    file.write_text("These are the minutes of our meeting. " * 100)

    with pytest.raises(
        StoreUnavailable, match=r"store\.db: file is not a database; set store.url to another file"
    ):
        opened(file)
    assert file.read_text().startswith("These are the minutes")


def test_a_folder_that_is_not_there_is_a_matter_of_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"the folder .*missing does not exist; create it"):
        opened(tmp_path / "missing" / "store.db")


def test_a_file_that_another_process_holds_is_unavailable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 20)
    with closing(opened(file)) as store, closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            StoreUnavailable, match=r"database is locked; another process has locked the database"
        ):
            store.record([a_decoded_message()], routes_all(), at=NOON)
        assert store.next_due() is None  # readers are not held up
        other.execute("ROLLBACK")

        assert store.record([a_decoded_message()], routes_all(), at=NOON).new == 1


def test_a_full_disk_is_unavailable_and_the_batch_is_not_half_there(file: Path) -> None:
    with closing(opened(file)) as store:
        with store.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        big = a_decoded_message(result=None, message=a_decoded_message().message, reason="x" * 200_000)

        with pytest.raises(StoreUnavailable, match=r"disk is full; free disk space"):
            store.record([a_decoded_message(), big], routes_all(), at=NOON)

        assert store.outstanding() == 0


def test_an_emptied_store_reports_how_to_fix_it(file: Path) -> None:
    with closing(opened(file)) as store, closing(sqlite3.connect(file)) as other:
        other.execute("DROP TABLE results")
        other.commit()

        with pytest.raises(
            StoreUnavailable, match="no such table: results; run `mns-listener store upgrade`"
        ):
            store.record([a_decoded_message()], routes_all(), at=NOON)


def test_a_commit_survives_a_power_cut(file: Path) -> None:
    with closing(opened(file)) as store, store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param(
            "listener.db",
            r"store\.url = 'listener\.db' is not a valid database URL; use sqlite:///",
            id="path",
        ),
        pytest.param("mysql://u@h/n", r"'mysql', which is not supported; use sqlite:///", id="mysql"),
        pytest.param(
            "sqlite://", r"is not persistent; use a file, e\.g\. sqlite:///listener\.db", id="memory"
        ),
        pytest.param("sqlite:///:memory:", r"is not persistent; use a file", id="memory-too"),
        pytest.param("postgresql+pg8000://u:hidden@h/n", r"u:\*\*\*@h/n requires a driver", id="no-driver"),
        pytest.param("postgresql+pg8000://h/n?password=hidden", r"password=\*\*\* requires", id="in-query"),
        pytest.param(
            "postgresql:/h/n?password=hidden&x=1", r"password=\*\*\*&x=1' is not a valid", id="invalid"
        ),
        pytest.param("postgresql://u:a@hidden@h/n", r"write %40 for an @", id="at-sign-in-password"),
        pytest.param("postgresql://u:a@b/hidden@h/n", r"write %40 for an @", id="at-sign-and-slash"),
        pytest.param("sqlite:////nowhere/l.db?password=hidden", r"password=\*\*\*: the folder", id="sqlite"),
    ],
)
def test_an_unusable_url_is_reported_with_a_hint(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        SqlStore.open(url)
    assert "hidden" not in str(caught.value)
