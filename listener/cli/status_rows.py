"""How a listener is doing, in a few rows: what is good, what is not, and what to do then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from listener.core.check_result import Level
from listener.core.lazy_imports import lazy_imports
from listener.core.model import NewerKind, Source
from listener.rules.attention import callbacks_get_lost, is_backlog_old

with lazy_imports():
    from listener.formats import durations
    from listener.settings import sections

if TYPE_CHECKING:
    from listener.cli.daemon_view import DaemonView, QueueView
    from listener.store.daemons import RunningDaemon
    from listener.store.statistics import Activity, Totals

#: A long poll is answered after half a minute at most.
RECEIVE_OVERDUE: Final = timedelta(minutes=2)
#: The functions with the most jobs.
FUNCTIONS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is known of a listener: from its store, and from a daemon that could be asked."""

    at: datetime
    daemons: Sequence[RunningDaemon]
    view: DaemonView | None
    silent: str = ""  #: http.listen, if nothing answers there
    host: str = ""  #: of this process
    totals: Totals
    #: Accepted jobs that no daemon submits, by tenant.
    unserved: Mapping[str, int] = field(default_factory=dict)
    newer_kinds: Sequence[NewerKind] = ()  #: accepted jobs that only a newer release submits
    activity: Activity


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
    """One line."""

    level: Level
    name: str
    detail: str
    advice: str = ""  #: what to do, unless all is well


def status_rows(status: Status) -> Sequence[StatusRow]:
    """In the order in which to look for the cause of a problem."""
    return [
        *_daemons(status),
        *_queues(status),
        *_accepted(status),
        *_open(status.totals),
        *_activity(status.activity),
        StatusRow(level=Level.OK, name="store", detail=f"{status.totals.bytes / 1e6:.1f} MB"),
    ]


def healthy(rows: Sequence[StatusRow]) -> bool:
    """Whether callbacks are received and handled. What waits for a person is a warning, and no lack of health."""
    return not any(row.level is Level.FAILED for row in rows)


def _row(name: str, detail: str, *, level: Level = Level.OK, advice: str = "") -> StatusRow:
    return StatusRow(level=level, name=name, detail=detail, advice=advice if level is not Level.OK else "")


def _daemons(status: Status) -> Iterator[StatusRow]:
    if not status.daemons:
        yield _row(
            "daemon",
            "none is running on this store",
            level=Level.FAILED,
            advice="start one with `mns-listener run`",
        )
    for daemon in status.daemons:
        view = _view_of(status, daemon)
        detail = f"{daemon.owner} {daemon.version}, up {_age(status.at - daemon.started_at)}"
        if view and view.in_flight is not None:
            detail += f", {view.in_flight} in flight"
        if view and view.unready:
            advice = "see its log, and /readyz"
            yield _row("daemon", f"{detail}; not ready: {view.unready}", level=Level.FAILED, advice=advice)
        elif view:
            yield _row("daemon", detail)
        else:
            yield _unasked(status, daemon, f"{detail}, last seen {_age(status.at - daemon.seen_at)} ago")


def _unasked(status: Status, daemon: RunningDaemon, detail: str) -> StatusRow:
    """It may have been killed since; with other settings, it listens elsewhere."""
    if not status.silent or daemon.host != status.host:
        return _row("daemon", detail)
    return _row(
        "daemon",
        f"{detail}; nothing answers at {status.silent}",
        level=Level.FAILED,
        advice="verify that its process still runs, has these settings, and lets this user connect",
    )


def _view_of(status: Status, daemon: RunningDaemon) -> DaemonView | None:
    """What it said; another one may have been asked."""
    return status.view if status.view and status.view.owner == daemon.owner else None


def _queues(status: Status) -> Iterator[StatusRow]:
    seen: dict[str, QueueView | None] = {name: None for each in status.daemons for name in each.queues}
    for daemon in status.daemons:
        if view := _view_of(status, daemon):
            seen |= {queue.name: queue for queue in view.queues}
    for name, queue in seen.items():
        if queue is None:
            yield _row(f"queue {name}", "polled; its daemon cannot be asked from here")
        else:
            yield _queue(queue)


def _queue(queue: QueueView) -> StatusRow:
    name, age = f"queue {queue.name}", queue.receive_age
    if queue.fault:
        return _row(name, queue.fault, level=Level.FAILED, advice="run `mns-listener check`")
    if age is None:
        return _row(name, "polled")
    detail = f"last answer {_age(age)} ago"
    if queue.pollers and queue.pollers > 1:
        detail += f", {queue.pollers} pollers"
    level = Level.FAILED if age > RECEIVE_OVERDUE else Level.OK
    return _row(name, detail, level=level, advice="run `mns-listener check`")


def _accepted(status: Status) -> Iterator[StatusRow]:
    if not status.totals.accepted:
        return
    waits = ", ".join(
        f"{count} for a daemon with [{sections.mps_section(tenant)}]"
        for tenant, count in status.unserved.items()
    )
    for waiting in status.newer_kinds:
        yield _row(
            "newer kinds",
            f"{waiting.jobs} accepted jobs of kind {waiting.kind}, such as {waiting.reference}: "
            "only a newer release can submit them",
            level=Level.WARNING,
            advice="start a daemon of the release that accepted them",
        )
    yield _row(
        "accepted jobs",
        f"{status.totals.accepted} wait to be submitted{f'; {waits}, and none is running' if waits else ''}",
        level=Level.WARNING if waits else Level.OK,
        advice="add the section, else these jobs are refused a day after their acceptance",
    )


def _open(totals: Totals) -> Iterator[StatusRow]:
    yield _backlog(totals)
    if totals.waiting or totals.verifying:
        yield _row("results", f"{totals.waiting} wait for their job, {totals.verifying} are being verified")
    yield _count("dead letters", totals.dead, "`mns-listener dead-letters list`, then replay or drop")
    yield _count("parked", totals.parked, "fix the routes, then `mns-listener results reroute`")
    yield _count("quarantine", totals.quarantined, "`mns-listener quarantine list`, then retry or drop")
    yield _count("overdue jobs", totals.overdue, "`mns-listener reconcile --dry-run`")


def _backlog(totals: Totals) -> StatusRow:
    detail = f"{totals.pending} pending, {totals.running} running"
    age = totals.oldest_pending_age
    if totals.oldest_pending:
        detail += f", the oldest for {_age(age)}"
    level = Level.WARNING if is_backlog_old(age) else Level.OK
    return _row("deliveries", detail, level=level, advice="`mns-listener deliveries list` says why")


def _count(name: str, count: int, advice: str) -> StatusRow:
    return _row(name, str(count), level=Level.WARNING if count else Level.OK, advice=advice)


def _activity(activity: Activity) -> Iterator[StatusRow]:
    rates = activity.rates()
    yield _row(
        "a minute",
        f"{rates.received:.1f} received, {rates.handled:.1f} handled, {rates.failed:.1f} failed",
    )
    yield _outcomes(activity)
    for each in activity.times[:FUNCTIONS_SHOWN]:
        median, p95, longest = map(durations.span_text, (each.median, each.p95, each.longest))
        name = each.function or "no function"
        yield _row("job times", f"{name}: median {median}, 95 % within {p95}, longest {longest}")


def _outcomes(activity: Activity) -> StatusRow:
    ended = activity.ended_by
    outcomes = sum(ended.values())
    detail = f"{outcomes} in {_age(activity.at - activity.outcomes_since)}"
    brought = [
        f"{count} {words}"
        for words, count in (
            ("by query", ended[Source.QUERY]),
            ("in the reply", ended[Source.REPLY]),
            ("declared lost", ended[Source.LISTENER]),
        )
        if count
    ]
    lost = callbacks_get_lost(activity.query_share, outcomes=outcomes)
    return _row(
        "outcomes",
        ", ".join([detail, *brought]),
        level=Level.WARNING if lost else Level.OK,
        advice="callbacks get lost: run `mns-listener check`",
    )


def _age(age: timedelta) -> str:
    return durations.duration_text(max(age, timedelta()))
