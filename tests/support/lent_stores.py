"""Stores on the shared PostgreSQL for one test after the other: making a database takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from sqlalchemy.engine import make_url

from tests.support import postgres

#: What a test can change beside rows: the schema, by the transactions that wrote it, and what the planner knows.
_SCHEMA: Final = """
SELECT (SELECT sum(xmin::text::bigint) FROM pg_class WHERE oid >= 16384),
       (SELECT sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384),
       (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
       (SELECT count(*) FROM pg_namespace),
       (SELECT count(*) FROM pg_db_role_setting),
       (SELECT array_agg(version_num) FROM alembic_version),
       (SELECT sum(reltuples) FROM pg_class WHERE oid >= 16384)
"""
_SESSIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
_BYTES: Final = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE oid >= 16384 AND relkind = 'r'"
_NAMES: Final = "SELECT relkind, relname FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'S')"
#: Rows that were deleted still take room, and with much of it queries have other plans.
_MAX_BYTES: Final = 300_000


class LentStore:
    """One database, and a session that empties it."""

    def __init__(self) -> None:
        self.url = postgres.server().new_store()
        database = str(make_url(self.url).database)
        self._session = psycopg.connect(postgres.server().url(database), autocommit=True)
        self._session.execute("SET session_replication_role = replica")  # rows go in any order
        self._schema = self._row(_SCHEMA)
        names = self._session.execute(_NAMES).fetchall()
        self._clearing = [
            f"SELECT setval('{name}', 1, false)" if kind == "S" else f"DELETE FROM {name}"
            for kind, name in names
            if name != "alembic_version"
        ]

    def is_in_use(self) -> bool:
        """Whether another session is left. The server ends sessions a moment after they were closed."""
        with suppress(psycopg.OperationalError):
            return self._row(_SESSIONS) != (1,)
        return False  # the test has ended all sessions

    def clear(self) -> bool:
        """Empty it; returns whether it is like new."""
        with suppress(psycopg.Error):
            (size,) = self._row(_BYTES)
            if self._row(_SCHEMA) == self._schema and size < _MAX_BYTES:
                for statement in self._clearing:
                    self._session.execute(statement.encode())
                return True
        self._session.close()
        return False

    def _row(self, query: str) -> tuple[Any, ...]:
        row = self._session.execute(query.encode()).fetchone()
        assert row is not None
        return tuple(row)


_USED: Final[list[LentStore]] = []


@contextmanager
def lent_store() -> Iterator[str]:
    """The URL of an empty store with today's schema, which only this test uses.

    One that a test leaves in use is not lent before that ends; one that it leaves grown or with another schema, never.
    """
    lent = _cleared() or LentStore()
    yield lent.url
    _USED.append(lent)


def _cleared() -> LentStore | None:
    for lent in [each for each in _USED if not each.is_in_use()]:
        _USED.remove(lent)
        if lent.clear():
            return lent
    return None
