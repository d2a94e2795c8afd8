"""What only reads neither creates nor migrates a store, on both databases, and cannot write to it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, text
from sqlalchemy.engine import make_url

from listener.core.errors import ListenerError, SettingsError, StoreUnavailable
from listener.store import schema
from listener.store.database import Database
from listener.store.sql_store import SqlStore
from listener.store.tables import results
from tests.support import postgres
from tests.support.builders import NOON, a_job, decoded_messages, routes_all
from tests.support.stores import OpenStore, count


def test_a_store_that_does_not_exist_is_an_error_and_is_not_created(
    empty_url: str, tmp_path: Path, read_only: bool
) -> None:
    with pytest.raises(SettingsError, match=r"store\.url .*-c.*`mns-listener store upgrade`") as refused:
        SqlStore.open_existing(empty_url, read_only=read_only)

    assert str(make_url(empty_url).database) in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    if not empty_url.startswith("sqlite"):
        with closing(Database(empty_url)) as database:
            assert schema.version(database) == ""


@pytest.mark.parametrize("found", ["0001", "9999"])
def test_a_store_of_another_release_is_refused_and_stays_as_it_is(
    open_store: OpenStore, url: str, found: str, read_only: bool
) -> None:
    database = open_store().database
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": found})

    with pytest.raises(SettingsError, match=f"schema {found}, this release needs {schema.HEAD}; "):
        SqlStore.open_existing(url, read_only=read_only)
    assert schema.version(database) == found


def test_a_reader_sees_what_another_process_commits_meanwhile(open_store: OpenStore, url: str) -> None:
    writer = open_store()
    with closing(SqlStore.open_existing(url, read_only=True)) as reader:
        assert reader.find_job("talk-7") is None
        writer.add_job(a_job(reference="talk-7"))
        assert reader.find_job("talk-7") is not None


def test_a_reader_cannot_write(open_store: OpenStore, url: str) -> None:
    store = open_store()
    store.record(decoded_messages(2), routes_all(), at=NOON)

    def delete_all() -> None:
        with reader.database.read() as connection:
            connection.execute(delete(results))

    reader = SqlStore.open_existing(url, read_only=True)
    with closing(reader), pytest.raises(ListenerError, match=r"readonly database|read-only transaction"):
        delete_all()
    assert count(store, results) == 2


def test_a_role_that_may_only_select_can_read() -> None:
    server = postgres.server()
    url = server.new_store()
    name = str(make_url(url).database)
    server.execute(f'CREATE ROLE "auditor_{name}" LOGIN')
    server.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "auditor_{name}"', database=name)

    url = server.url(name, user=f"auditor_{name}")
    with closing(SqlStore.open_existing(url, read_only=True)) as reader:
        assert reader.outstanding() == 0
        with pytest.raises(StoreUnavailable):
            reader.probe_write()


@pytest.fixture(params=[True, False], ids=["reads", "writes"])
def read_only(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
