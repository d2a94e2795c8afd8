"""The schema version: read it cheaply, and migrate an older schema with Alembic."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from listener.core.errors import SettingsError
from listener.core.logger import get_logger
from listener.store import postgres
from listener.store.database import SQLITE_UPGRADE_BUSY_MS, Database
from listener.store.error_hints import schema_hint

#: The newest revision. A test verifies that it is Alembic's head; this way a start need not import Alembic.
HEAD = "0017"

log = get_logger(__name__)


def version(database: Database) -> str:
    """The revision of the database; empty for a new one."""
    with database.read() as connection:
        return _version(connection)


def existing_version(database: Database) -> str:
    """The same of a store that exists. Raises SettingsError without creating its file."""
    if not database.is_postgres and not os.path.exists(path := os.path.abspath(database.url.database or "")):
        raise SettingsError(
            f"store {database.display_url} does not exist, there is no file {path}; {schema_hint('', head=HEAD)}"
        )
    return version(database)


def require_current(database: Database) -> None:
    """Raises SettingsError unless the store exists and its schema is that of this release."""
    found = existing_version(database)
    if found != HEAD:
        raise SettingsError(
            f"store {database.display_url} has {f'schema {found}' if found else 'no schema'}, "
            f"this release needs {HEAD}; {schema_hint(found, head=HEAD)}"
        )


def upgrade(database: Database) -> bool:
    """Migrate the schema to HEAD; returns whether there was anything to do.

    Raises SettingsError if the schema is that of a newer release, which this one does not know.
    """
    if version(database) == HEAD:
        return False
    with database.migrate(busy_ms=SQLITE_UPGRADE_BUSY_MS) as connection:
        if database.is_postgres:
            postgres.lock_upgrades(connection)
        found = _version(connection)  # again, now that no other process can be migrating it
        if found == HEAD:
            return False
        refuse_unknown(found, database.display_url)
        _run_migrations(connection)
    log.info("schema.upgraded", store=database.display_url, from_version=found or "empty", to_version=HEAD)
    return True


def _version(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def rehearse(database: Database) -> None:
    """Migrate an empty database and take all of it back. Raises what ``upgrade`` would raise."""
    with database.migrate() as connection:
        _run_migrations(connection)
        connection.rollback()


def refuse_unknown(found: str, display_url: str) -> None:
    """Raises SettingsError for a schema that only a newer release knows."""
    if found > HEAD:
        raise SettingsError(
            f"store {display_url} has schema {found}, which is newer than this release supports ({HEAD}); "
            f"{schema_hint(found, head=HEAD)}"
        )


def _run_migrations(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
