"""The tables. Migrations create them; a test verifies that both are equal. Indexes: ``listener.store.indexes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
#: What is stored outside of these can only be damage. With the nearest one, reading and arithmetic do not overflow.
EARLIEST, LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def to_microseconds(at: datetime) -> int:
    """Whole microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def stored_time(at: datetime | None) -> int | None:
    """A timestamp as rows have it."""
    return None if at is None else to_microseconds(at)


def from_microseconds(number: int) -> datetime:
    """The inverse of ``to_microseconds``, between EARLIEST and LATEST."""
    if not _MIN <= number <= _MAX:
        number = min(max(number, _MIN), _MAX)
    return EPOCH + MICROSECOND * number  # to multiply takes two thirds of the time of making a timedelta


_MIN, _MAX = to_microseconds(EARLIEST), to_microseconds(LATEST)


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970: small, exact, sorted the same on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return stored_time(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


RowId = BigInteger().with_variant(Integer, "sqlite")  #: SQLite assigns ids to an INTEGER PRIMARY KEY only
#: Options of every table with ids: that of a deleted row is not assigned again. PostgreSQL never does that.
IDS_ONCE: Final[Mapping[str, Any]] = {"sqlite_autoincrement": True}

metadata = MetaData()


jobs = Table(
    "jobs",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("token", String(32), nullable=False),  # unique, see ``listener.store.indexes``
    Column("job_id", String(256)),  # unique
    Column("reference", String(256)),  # unique
    Column("function", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("schedule_params", Text, nullable=False),
    Column("notify_url", Text, nullable=False),
    Column("user_data", Text),
    Column("state", String(32), nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("submitted_at", UtcTimestamp),
    Column("finished_at", UtcTimestamp),
    Column("tenant", Text, nullable=False, server_default=""),
    Column("deadline_at", UtcTimestamp),
    Column("next_query_at", UtcTimestamp),  #: when MPS is to be asked about it; NULL once the job is finished
    Column("queries", Integer, nullable=False, server_default="0"),
    Column("kind", Text, nullable=False, server_default=""),
    Column("trace", Text, nullable=False, server_default=""),
    **IDS_ONCE,
)

results = Table(
    "results",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("dedup_key", Text, nullable=False),  # unique
    Column("job_id", String(256), nullable=False),
    Column("run_id", String(256), nullable=False),
    Column("media_id", Text, nullable=False, server_default=""),
    Column("event", Text, nullable=False, server_default=""),
    Column("job", RowId),  #: jobs.id; NULL until the job is known
    Column("type", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text),
    Column("user_data", Text),
    Column("token", Text, nullable=False),
    Column("activities", Text),
    Column("pipeline", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("raw", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("wait_until", UtcTimestamp),
    Column("received_at", UtcTimestamp, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("contradictions", Integer, nullable=False),
    Column("outputs", Text),  #: see Result
    Column("output", Text, nullable=False, server_default=""),
    **IDS_ONCE,
)


def results_named(name: str) -> Sequence[ColumnElement[bool]]:
    """Conditions that together find the results of the job or workflow with this id; an index serves each of them."""
    nothing = literal("", literal_execute=True)
    columns = results.c
    return (
        columns.dedup_key == name,
        and_(columns.job_id == name, columns.job_id != columns.dedup_key, columns.job_id != nothing),
        and_(columns.run_id == name, columns.run_id != nothing),
    )


def results_about_medium(media_id: str) -> ColumnElement[bool]:
    """The condition that finds the events about this medium; an index serves it."""
    return and_(results.c.media_id == media_id, results.c.media_id != literal("", literal_execute=True))


deliveries = Table(
    "deliveries",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("result", RowId, nullable=False),
    Column("queue", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("handler", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_at", UtcTimestamp),
    Column("owner", Text),
    Column("lease_until", UtcTimestamp),
    Column("last_error", Text),
    Column("created_at", UtcTimestamp, nullable=False),
    Column("settled_at", UtcTimestamp),
    Column("no_handler_since", UtcTimestamp),  #: since when no process that claimed it has had its handler
    Column("first_key", Text),  #: its idempotency key, if a replay has given it another route or handler
    Column("replayed_at", UtcTimestamp),  #: when its present set of attempts began, if a replay gave it that
    Column("pull_at", UtcTimestamp),  #: from when on applications may pull it; then next_at is NULL
    **IDS_ONCE,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("delivery", RowId, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("started_at", UtcTimestamp),
    Column("seconds", Double),
    Column("settled_at", UtcTimestamp, nullable=False),
    UniqueConstraint("delivery", "attempt", name="attempts_of_delivery"),
    **IDS_ONCE,
)

#: See ``listener.store.changes``.
changes = Table(
    "changes",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at", UtcTimestamp, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("row_ids", Text, nullable=False),  #: of results, jobs or deliveries, by the kind
    **IDS_ONCE,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("dequeue_count", Integer, nullable=False),
    Column("enqueued_at", UtcTimestamp),
    Column("received_at", UtcTimestamp, nullable=False),
    Column("copies", Integer, nullable=False),
    UniqueConstraint("queue", "message_id", name="quarantine_message"),
    **IDS_ONCE,
)

daemons = Table(
    "daemons",
    metadata,
    Column("owner", String(256), primary_key=True),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", Text, nullable=False),  #: a JSON list
    Column("started_at", UtcTimestamp, nullable=False),
    Column("seen_at", UtcTimestamp, nullable=False),
    Column("targets", Text),  #: a JSON list of pairs: route, handler
    Column("tenants", Text),  #: a JSON list
)
