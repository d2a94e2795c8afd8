"""The databases that keep the promises of Store, and what the tests look at in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select

from listener.core.model import Job
from listener.store import schema
from listener.store.rows import job_of, mapping
from listener.store.sql_store import SqlStore
from listener.store.tables import deliveries, jobs, quarantine, results
from tests.support import postgres
from tests.support.sqlite import new_sqlite

#: Makes the URL of a new store, given a folder of the test's own. Its schema is today's, or there is none yet.
BACKENDS: Final[Mapping[str, Callable[[Path], str]]] = {
    "sqlite": lambda folder: new_sqlite(folder / "store.db"),
    "postgresql": lambda _folder: postgres.server().new_store(),
}
#: The same for an empty database.
EMPTY: Final[Mapping[str, Callable[[Path], str]]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'store.db'}",
    "postgresql": lambda _folder: postgres.server().new_database(),
}

OpenStore = Callable[[], SqlStore]


def migrate_to(connection: Connection, revision: str) -> None:
    """Make the schema that an earlier release had."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def count(store: SqlStore, table: Any, *conditions: Any) -> int:
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def states(store: SqlStore) -> list[str]:
    """The states of all deliveries, in the order in which they were written."""
    with store.database.read() as connection:
        return list(connection.scalars(select(deliveries.c.state).order_by(deliveries.c.id)))


def next_due(store: SqlStore) -> datetime | None:
    """When the earliest pending delivery is due; None if nothing is pending."""
    with store.database.read() as connection:
        earliest = select(func.min(deliveries.c.next_at)).where(deliveries.c.state == "pending")
        found: datetime | None = connection.scalar(earliest)
    return found


def the_row(store: SqlStore, table: Any) -> Mapping[str, Any]:
    """The only row of a table."""
    with store.database.read() as connection:
        return dict(mapping(connection.execute(select(table)).one()))


def the_job(store: SqlStore, token: str) -> Job:
    with store.database.read() as connection:
        return job_of(mapping(connection.execute(select(jobs).where(jobs.c.token == token)).one()))


__all__ = [
    "BACKENDS",
    "EMPTY",
    "OpenStore",
    "count",
    "deliveries",
    "jobs",
    "next_due",
    "quarantine",
    "results",
    "states",
    "the_job",
    "the_row",
]
