"""The schema: migrations make what the statements expect, also when several processes start at once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.schema import SchemaItem

from listener.core.errors import SettingsError, StoreUnavailable
from listener.store import ingest, schema
from listener.store.database import Database
from listener.store.indexes import metadata
from listener.store.sql_store import SqlStore
from tests.support import ROOT
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.stores import OpenStore, count, deliveries, results


def start_python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # of SQLite; those of PostgreSQL are compared
def test_migrations_make_the_tables_that_the_statements_expect(store: SqlStore) -> None:
    def is_of_dialect(item: SchemaItem, *_about: object) -> bool:
        return item.info.get("dialect", dialect) == dialect

    with store.database.read() as connection:
        dialect = connection.dialect.name
        options = {"compare_type": True, "include_object": is_of_dialect}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    folder = Path(schema.__file__).with_name("migrations")
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_an_upgrade_is_done_once(empty_url: str) -> None:
    with closing(Database(empty_url)) as database:
        assert schema.version(database) == ""
        assert [schema.upgrade(database) for _ in range(2)] == [True, False]
        assert schema.version(database) == schema.HEAD


def test_the_schema_of_a_newer_release_is_refused(open_store: OpenStore, url: str) -> None:
    with open_store().database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SettingsError, match=r"schema 9999, which is newer .*install the release"):
        open_store()


OPEN = """
import sys
from listener.store.sql_store import SqlStore
print("ready", flush=True)
sys.stdin.readline()
SqlStore.open(sys.argv[1]).close()
"""


def test_processes_that_start_together_upgrade_together(empty_url: str) -> None:
    children = [start_python(OPEN, empty_url) for _ in range(3)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()

    errors = [child.communicate(timeout=120)[1] for child in children]

    assert [child.returncode for child in children] == [0] * 3, errors
    with closing(Database(empty_url)) as database:
        assert schema.version(database) == schema.HEAD


RECORD = """
import sys
from listener.store import ingest
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, decoded_messages, routes_all
with SqlStore.open(sys.argv[1]).database.write() as connection:
    ingest.record(connection, decoded_messages(16), routes_all(), at=NOON, claim=None)
    print("written", flush=True)
    sys.stdin.readline()
"""


def test_a_process_killed_within_a_transaction_leaves_nothing_of_it(open_store: OpenStore, url: str) -> None:
    store = open_store()
    child = start_python(RECORD, url)
    assert child.stdout is not None
    lines = iter(child.stdout.readline, "")
    assert any(line == "written\n" for line in lines), "the child never came to write"

    child.kill()
    child.communicate(timeout=60)

    assert (count(store, results), count(store, deliveries)) == (0, 0)
    assert store.record(decoded_messages(16), routes_all(), at=NOON).new == 16


def test_what_was_committed_survives_a_kill(open_store: OpenStore, url: str) -> None:
    script = RECORD.replace("    print", "print").replace("    sys.stdin", "sys.stdin")
    child = start_python(script, url)
    assert child.stdout is not None
    assert any(line == "written\n" for line in iter(child.stdout.readline, ""))

    child.kill()
    child.communicate(timeout=60)

    assert count(open_store(), results) == 16


def test_an_error_within_a_transaction_leaves_nothing_of_it(store: SqlStore) -> None:
    def record_and_fail() -> None:
        with store.database.write() as connection:
            ingest.record(connection, decoded_messages(3), routes_all(), at=NOON, claim=None)
            raise KeyError

    with pytest.raises(KeyError):
        record_and_fail()

    assert count(store, results) == 0


def test_of_several_errors_the_first_is_reported(open_store: OpenStore) -> None:
    database = open_store().database
    driver_error = database.engine.dialect.loaded_dbapi.OperationalError  # type: ignore[attr-defined]

    def lose_the_session() -> None:
        try:
            raise driver_error("the server goes down")
        finally:
            raise driver_error("the connection is lost")

    with pytest.raises(StoreUnavailable, match="the server goes down"), database.translated():
        lose_the_session()
