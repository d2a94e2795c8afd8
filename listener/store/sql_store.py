"""The store on SQLite or PostgreSQL, through SQLAlchemy Core: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from listener.core import clock
from listener.core.errors import StoreFailureKind, StoreRejected, StoreUnavailable, UsageError
from listener.core.model import (
    Claim,
    ClockLag,
    DecodedMessage,
    Delivery,
    Job,
    Lease,
    NewerKind,
    Outcome,
    RecordSummary,
    Result,
    ResultStatus,
    Settlement,
    Target,
    Tenants,
    Unverified,
)
from listener.core.ports import ALL_TENANTS, Decide, StoreObserver
from listener.store import (
    accepted as accepted_rows,
)
from listener.store import (
    claims,
    future_rows,
    ingest,
    job_rows,
    overdue,
    past_rows,
    pulls,
    result_rows,
    schema,
    unverified,
    waiting,
    write_probe,
)
from listener.store.database import Database
from listener.store.group_commit import GroupCommit
from listener.store.unreadable import either, read

Value = TypeVar("Value")


class SqlStore:
    """Implements ``listener.core.ports.Store``, which says what each method guarantees."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._group_commit = GroupCommit(database)
        #: Called after each transaction that may have logged changes, in the thread that wrote; it must neither wait
        #: nor raise.
        self.on_change: Callable[[], None] = _ignore

    @classmethod
    def open(
        cls, url: str, *, timeout: timedelta | None = None, observer: StoreObserver | None = None
    ) -> SqlStore:
        """Open the database and migrate its schema. Raises SettingsError or StoreUnavailable.

        Without a ``timeout``, calls may take as long as they need. ``observer`` learns of all later calls; an error
        while opening is the caller's to report.
        """
        database = Database(url, timeout=timeout)
        try:
            schema.upgrade(database)
        except BaseException:  # raised again, once what was opened is closed
            database.close()
            raise
        database.observer = observer
        return cls(database)

    @classmethod
    def open_existing(
        cls, url: str, *, timeout: timedelta | None = None, read_only: bool = False
    ) -> SqlStore:
        """Open a store that exists and has the schema of this release; nothing is created or migrated.

        Raises SettingsError for any other, or StoreUnavailable. ``read_only``: see ``Database``.
        """
        database = Database(url, timeout=timeout, read_only=read_only)
        try:
            schema.require_current(database)
        except BaseException:  # raised again, once what was opened is closed
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        self.database.close()

    # JobStore

    def add_job(self, job: Job) -> None:
        try:
            with self.database.write() as connection:
                job_rows.add(connection, job)
        except StoreRejected as error:
            raise UsageError(f"the job cannot be stored, so it was not submitted: {error}") from error

    def bind_job(self, token: str, job_id: str, at: datetime) -> None:
        self._group_commit.run(lambda connection: job_rows.bind(connection, token, job_id, at=at))

    def refuse_job(self, token: str, error: str, at: datetime) -> None:
        with self.database.write() as connection:
            job_rows.refuse(connection, token, error, at=at)
        self.on_change()

    def find_job(self, name: str) -> Job | None:
        with self.database.read() as connection:
            found = job_rows.find(connection, name)
        return found.job if found else None

    # AcceptedStore

    def accept_jobs(self, accepted: Sequence[Job]) -> Mapping[str, Job]:
        return self._group_commit.run(lambda connection: accepted_rows.add(connection, accepted))

    def count_accepted(self) -> int:
        with self.database.read() as connection:
            return accepted_rows.count(connection)

    def accepted_jobs(self, *, limit: int, tenants: Tenants = ALL_TENANTS, after: str = "") -> Sequence[Job]:
        find = partial(accepted_rows.find, limit=limit, tenants=tenants, after=after)
        return read(self.database, partial(find, load=overdue.load), partial(find, load=overdue.load_each))

    def accepted_newer_kinds(self, *, release: str, at: datetime) -> Sequence[NewerKind]:
        with self.database.read() as connection:
            return accepted_rows.newer_kinds(connection, release=release, at=at)

    def begin_submission(self, token: str, *, at: datetime) -> bool:
        return self._group_commit.run(lambda connection: accepted_rows.begin(connection, token, at=at))

    def accept_again(self, token: str, *, begun_at: datetime) -> None:
        self._group_commit.run(lambda connection: accepted_rows.undo(connection, token, begun_at=begun_at))

    def unserved_jobs(self, *, at: datetime, served: Collection[str] = ()) -> Mapping[str, int]:
        with self.database.read() as connection:
            return accepted_rows.unserved(connection, at=at, served=served)

    def refuse_tenant(self, tenant: str, error: str, *, accepted_before: datetime, at: datetime) -> int:
        with self.database.write() as connection:
            count = accepted_rows.refuse_tenant(
                connection, tenant, error, accepted_before=accepted_before, at=at
            )
        self.on_change()
        return count

    # OverdueStore

    def claim_overdue(
        self, *, at: datetime, until: datetime, limit: int, tenants: Tenants = ALL_TENANTS
    ) -> Sequence[Job]:
        claim = partial(overdue.claim, at=at, until=until, limit=limit, tenants=tenants)
        return self._either(partial(claim, load=overdue.load), partial(claim, load=overdue.load_each))

    def postpone(self, job: Job, *, until: datetime, asked: bool) -> None:
        with self.database.write() as connection:
            overdue.postpone(connection, job, until=until, asked=asked)

    # ScheduleStore

    def reschedule_future(self, *, at: datetime, longest_query_wait: timedelta) -> int:
        with self.database.write(unlimited=True) as connection:
            return future_rows.reschedule(connection, at=at, longest_query_wait=longest_query_wait)

    def newest_times(self) -> Sequence[Sequence[datetime]]:
        with self.database.read() as connection:
            return past_rows.newest_times(connection)

    def correct_past(self, lag: ClockLag) -> int:
        with self.database.write(unlimited=True) as connection:
            return past_rows.correct(connection, lag)

    def delivery_times(self, *, first: int, last: int) -> Sequence[tuple[int, datetime]]:
        with self.database.read() as connection:
            return past_rows.delivery_times(connection, first=first, last=last)

    # OutputStore

    def save_outputs(self, result: Result, outputs: str, *, output: str) -> None:
        with self.database.write() as connection:
            result_rows.save_outputs(connection, result, outputs, output=output)

    # ResultStore

    def record(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        return self._changed(
            self._group_commit.run(
                lambda connection: ingest.record(connection, batch, decide, at=at, claim=claim)
            )
        )

    def decide_waiting(
        self, decide: Decide, *, at: datetime, limit: int, only_known: bool = False
    ) -> RecordSummary:
        due = partial(waiting.due, status=ResultStatus.WAITING, at=at, limit=limit, only_known=only_known)
        return self._changed(
            self._either(
                lambda connection: ingest.decide_waiting(connection, due(connection), decide, at=at),
                lambda connection: ingest.decide_each_waiting(connection, due(connection), decide, at=at),
            )
        )

    def verify_writable(self, decide: Decide, *, at: datetime) -> None:
        with self.database.call():
            try:
                with self.database.write() as connection:
                    ingest.record_trial(connection, decide, at=at)
                    connection.rollback()
            except StoreRejected as error:
                raise StoreUnavailable(
                    f"the store rejects every result: {error}",
                    kind=StoreFailureKind.DATABASE,
                    code=error.code,
                ) from error

    def believe(
        self, claimed: Unverified, result: Result, decide: Decide, *, at: datetime, claim: Claim | None = None
    ) -> RecordSummary:
        return self._changed(
            self._group_commit.run(
                lambda connection: unverified.believe(connection, claimed, result, decide, at=at, claim=claim)
            )
        )

    # VerificationStore

    def claim_unverified(
        self, *, at: datetime, until: datetime, limit: int, takes: Callable[[str], bool]
    ) -> Sequence[Unverified]:
        claim = partial(unverified.claim, at=at, until=until, limit=limit, takes=takes)
        readable = partial(unverified.load_readable, at=at)
        return self._either(partial(claim, load=unverified.load), partial(claim, load=readable))

    def postpone_verification(self, claimed: Unverified, *, until: datetime) -> None:
        self._group_commit.run(lambda connection: unverified.postpone(connection, claimed, until=until))

    def refuse(self, claimed: Unverified, reason: str, *, at: datetime) -> bool:
        return self._group_commit.run(
            lambda connection: unverified.refuse(connection, claimed, reason, at=at)
        )

    # DeliveryStore

    def claim(self, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        readable = partial(claims.load_readable, at=at)
        return self._either(
            lambda connection: claims.claim(connection, claim, at=at, load=claims.load),
            lambda connection: claims.claim(connection, claim, at=at, load=readable),
        )

    def renew(self, deliveries: Sequence[Delivery], *, until: datetime) -> None:
        self._group_commit.run(lambda connection: claims.renew(connection, deliveries, until=until))

    def rescue_expired(
        self, outcome: Callable[[Delivery], Outcome], *, at: datetime, limit: int
    ) -> Sequence[Settlement]:
        rescue = partial(claims.rescue_expired, outcome=outcome, at=at, limit=limit)
        readable = partial(claims.load_readable, at=at)
        return self._changed(self._either(partial(rescue, load=claims.load), partial(rescue, load=readable)))

    def leases(self, *, after: datetime, pulled_after: datetime, limit: int) -> Sequence[Lease]:
        with self.database.read() as connection:
            return claims.leases(connection, after=after, pulled_after=pulled_after, limit=limit)

    def rescue_unrenewed(
        self, leases: Sequence[Lease], outcome: Callable[[Delivery], Outcome], *, at: datetime
    ) -> Sequence[Settlement]:
        rescue = partial(claims.rescue_unrenewed, unrenewed=leases, outcome=outcome, at=at)
        readable = partial(claims.load_readable, at=at)
        return self._changed(self._either(partial(rescue, load=claims.load), partial(rescue, load=readable)))

    def settle(self, settlements: Sequence[Settlement], *, at: datetime) -> Sequence[Settlement]:
        return self._changed(
            self._group_commit.run(lambda connection: claims.settle(connection, settlements, at=at))
        )

    def shift_pulled_leases(self, by: timedelta, *, daemon: str) -> int:
        with self.database.write(unlimited=True) as connection:
            return pulls.shift_leases(connection, by, daemon=daemon)

    # PullStore

    def claim_offered(self, target: Target, claim: Claim, *, at: datetime) -> Sequence[Delivery]:
        readable = partial(claims.load_readable, at=at)
        return self._either(
            lambda connection: pulls.claim(connection, target, claim, at=at, load=claims.load),
            lambda connection: pulls.claim(connection, target, claim, at=at, load=readable),
        )

    def find_delivery(self, delivery_id: int) -> Delivery | None:
        found = read(
            self.database,
            lambda connection: claims.load(connection, [delivery_id]),
            lambda connection: claims.load_each(connection, [delivery_id]),
        )
        return found[0] if found else None

    def extend(self, delivery: Delivery, *, until: datetime) -> bool:
        return self._group_commit.run(lambda connection: pulls.extend(connection, delivery, until=until))

    def due_targets(self, targets: Sequence[Target], *, at: datetime) -> Sequence[Target]:
        with self.database.read() as connection:
            return pulls.due_targets(connection, targets, at=at)

    def offered_targets(self) -> Sequence[Target]:
        with self.database.read() as connection:
            return pulls.offered_targets(connection)

    def withdraw(self, target: Target) -> int:
        with self.database.write() as connection:
            return pulls.withdraw(connection, target)

    # Backlog

    def left_to_applications(self) -> int:
        with self.database.read() as connection:
            return pulls.count_left_to_applications(connection)

    def outstanding(self) -> int:
        with self.database.read() as connection:
            return claims.count_unsettled(connection) + result_rows.count_waiting(connection)

    def without_handler(self) -> Mapping[Target, int]:
        with self.database.read() as connection:
            return claims.count_without_handler(connection)

    # WriteProbe

    def probe_write(self) -> None:
        with self.database.write() as connection:
            write_probe.write_and_remove(connection, at=clock.now())

    def _changed(self, value: Value) -> Value:
        """The value that a transaction returned, once those who follow have been notified."""
        self.on_change()
        return value

    def _either(
        self, usual: Callable[[Connection], Value], row_by_row: Callable[[Connection], Value]
    ) -> Value:
        """Commit the usual work; if a row stops that, commit ``row_by_row`` instead."""
        return either(lambda: self._group_commit.run(usual), lambda: self._group_commit.run(row_by_row))


def _ignore() -> None:
    """Nothing follows."""
