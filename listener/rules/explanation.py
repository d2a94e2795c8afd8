"""What happens to a message or a result, and why: each step of the way, as the functions that decide it would.

Pure: what the store knows is given. ``listener/explanations.py`` asks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from xml.etree.ElementTree import ParseError

from listener.core.errors import Undecodable
from listener.core.model import Job, RecordKind, Result, ResultStatus, RoutingDecision, Target
from listener.formats import callback
from listener.formats.read_members import Member, read_members
from listener.formats.setup_message import is_setup_message
from listener.formats.unicode_text import storable
from listener.rules import enrichment, retry, route_reasons
from listener.rules.job_facts import kind_of
from listener.rules.retry import RetryPlan
from listener.rules.route_reasons import RouteReason
from listener.rules.routing import (
    Correlation,
    Rule,
    UnknownJobPolicy,
    considered_job,
    decider,
    is_mere_progress,
)

#: How much of a text is shown on each side of the place where it cannot be read.
EXCERPT: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings that decide."""

    rules: Sequence[Rule]
    correlation: Correlation
    unenriched: frozenset[str] = frozenset()  #: routes whose handlers get no outputs
    pulled: frozenset[Target] = frozenset()  #: handlers that leave their deliveries to applications
    max_wait: timedelta = timedelta(0)  #: how long a delivery waits for its outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a message was decoded, or why it could not be."""

    wrappings: tuple[str, ...]  #: what was around the callback, outermost first
    members: tuple[Member, ...] = ()
    error: str = ""  #: why there is no result
    before: str = ""  #: of a text that cannot be read: what is before the place where that was noticed
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store knows about a result."""

    job: Job | None = None
    found_by: str = ""  #: by what the job was found
    recorded_state: str | None = None  #: the state of a recorded result in whose place it would be
    is_open: bool = False  #: whether that one still waits for a decision


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPlan:
    """What a handler gets, and how often it is tried."""

    route: str
    handler: str
    retries: RetryPlan
    outputs: str  #: whether MPS is asked for the outputs first, or why not
    pulled: bool  #: whether an application claims it over the API, instead of being called


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The way of one message or result. Texts are sentences without a full stop; an empty one says nothing."""

    queue: str
    reading: Reading | None = None  #: None if it was decoded earlier
    result: Result | None = None  #: None if the message cannot be decoded
    job: Job | None = None
    correlation: str = ""
    verification: str = ""
    routes: tuple[RouteReason, ...] = ()  #: in the order of precedence
    outcome: str = ""  #: what recording it would lead to; see ``RecordKind``
    reason: str = ""
    deliveries: tuple[DeliveryPlan, ...] = ()


def read(body: str) -> tuple[Reading, Result | None]:
    """How this message body is decoded, and the result."""
    wrappings = tuple(each.wrapping for each in callback.opened(body))
    try:
        result = callback.decode(body)
    except Undecodable as error:
        before, after = _excerpt(error, body)
        return Reading(wrappings=wrappings, error=error.reason, before=before, after=after), None
    return Reading(wrappings=wrappings, members=read_members(result.raw)), result


def undecodable(reading: Reading, *, queue: str) -> Explanation:
    """What happens to a message without a result."""
    return Explanation(
        queue=queue,
        reading=reading,
        outcome=RecordKind.QUARANTINED,
        reason=(
            "the message is stored verbatim with this reason, and deleted from the queue; "
            "`mns-listener quarantine retry` decodes it again"
        ),
    )


def explain(
    result: Result,
    known: Known,
    setup: Setup,
    *,
    queue: str,
    now: datetime,
    reading: Reading | None = None,
) -> Explanation:
    """What happens to this result when it is recorded now."""
    final = list(_decisions(result, known.job, setup, queue=queue, now=now))[-1]
    copy = _as_copy(result, known)
    job = considered_job(result, known.job, setup.correlation.verification)
    return Explanation(
        queue=queue,
        reading=reading,
        result=result,
        job=known.job,
        correlation=_correlation(result, known, setup),
        verification=_verification(result, job, setup.correlation, queue=queue),
        routes=tuple(route_reasons.route_reasons(setup.rules, result, job=job, queue=queue)),
        outcome=copy[0] if copy else RecordKind(final.status),
        reason=copy[1] if copy else _reason(final, result),
        deliveries=tuple(() if copy else _plans(result, job, final, setup, queue=queue)),
    )


def _decisions(
    result: Result, job: Job | None, setup: Setup, *, queue: str, now: datetime
) -> Iterator[RoutingDecision]:
    """The decisions in turn: at once, after the wait for the job, after MPS has confirmed it."""
    correlation, rules = setup.correlation, setup.rules
    decision = decider(rules, correlation, now=now, wait_over=False)(result, job, queue)
    yield decision
    if decision.status is ResultStatus.WAITING:
        decision = decider(rules, correlation, now=now, wait_over=True)(result, job, queue)
        yield decision
    if decision.status is ResultStatus.VERIFYING:
        believed = correlation.for_verified()
        yield decider(rules, believed, now=now, wait_over=True)(result, job, queue)


def _correlation(result: Result, known: Known, setup: Setup) -> str:
    job, missing = known.job, "no job with this id in the store"
    if job is not None:
        name = job.reference or job.job_id or "without an id"
        if considered_job(result, job, setup.correlation.verification):
            return f"job {name}, found by its {known.found_by}" if known.found_by else f"job {name}"
        missing = (
            f"the job {name} is only listed as an activity; MPS is asked about it, and the run is not known"
        )
    if is_setup_message(result) or not (result.job_id or result.run_id):
        return "it is about no job"
    if is_mere_progress(setup.rules, result):
        return f"{missing}; it is not waited for, since no route asks for the state {result.state!r}"
    wait = setup.correlation.wait
    waiting = f"it waits {_seconds(wait)} for its job; then " if wait else ""
    return f"{missing}; {waiting}{_UNKNOWN[UnknownJobPolicy(setup.correlation.unknown)]}"


_UNKNOWN: Final = {
    UnknownJobPolicy.DELIVER: "it is routed all the same (correlation.unknown = deliver)",
    UnknownJobPolicy.DEAD_LETTER: "it is a dead letter (correlation.unknown = dead-letter)",
    UnknownJobPolicy.DROP: "it is dropped (correlation.unknown = drop)",
}


def _verification(result: Result, job: Job | None, correlation: Correlation, *, queue: str) -> str:
    if exemption := correlation.verification.exemption(result, job, queue):
        return f"MPS is not asked: {exemption}"
    kind = kind_of(result, job)
    asked = f" with {kind.queried_by}" if kind else ""
    return (
        f"MPS is asked{asked}, and what it reports counts; what follows is true if it confirms the callback"
    )


def _as_copy(result: Result, known: Known) -> tuple[RecordKind, str] | None:
    """What a result is of which another copy is recorded already; None if none is."""
    if known.recorded_state is None:
        return None
    if known.recorded_state == result.state or known.is_open:
        return RecordKind.DUPLICATE, "it is recorded already; another copy is counted, and changes nothing"
    recorded = f"the state {known.recorded_state!r} is recorded for it already"
    return RecordKind.CONTRADICTION, f"{recorded}; the first one counts, and this one is counted only"


def _reason(decision: RoutingDecision, result: Result) -> str:
    if decision.status is ResultStatus.PARKED:
        return "no route matches; it is kept, and `mns-listener results reroute` routes it after a change"
    if decision.status is ResultStatus.PROGRESS:
        return f"no route asks for the state {result.state!r}, which is not the end of a job; it is kept"
    if decision.status is ResultStatus.ROUTED:
        return f"the route {decision.targets[0].route!r} is the first that matches"
    return decision.reason


def _plans(
    result: Result, job: Job | None, decision: RoutingDecision, setup: Setup, *, queue: str
) -> Iterator[DeliveryPlan]:
    policies = {rule.name: rule.retry for rule in setup.rules}
    if decision.status is not ResultStatus.ROUTED:
        return
    for target in decision.targets:
        yield DeliveryPlan(
            route=target.route,
            handler=target.handler,
            retries=retry.plan(policies[target.route]),
            outputs=_outputs(result, job, setup, route=target.route, queue=queue),
            pulled=target in setup.pulled,
        )


def _outputs(result: Result, job: Job | None, setup: Setup, *, route: str, queue: str) -> str:
    verification = setup.correlation.verification
    if verification.needed(result, job, queue) and result.job_id:
        return "reported by MPS when it confirms the callback"
    if route in setup.unenriched:
        return "not asked for: the route has enrich = false"
    if exemption := enrichment.exemption(result, job):
        return f"not asked for: {exemption}"
    if verification.tenant_of(job, queue) not in verification.tenants:
        return "not asked for: MPS is not configured for its tenant"
    kind = enrichment.kind_to_ask(result, job)
    return f"asked for with {kind.queried_by if kind else ''}, for at most {_seconds(setup.max_wait)}"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"


def _excerpt(error: Undecodable, body: str) -> tuple[str, str]:
    """The text around the place where it cannot be read, if that is known."""
    found = callback.opened(body)
    text = found[-1].content if found else storable(body).strip()
    place = _place(error, text)
    if place is None:
        return "", ""
    return text[max(place - EXCERPT, 0) : place], text[place : place + EXCERPT]


def _place(error: BaseException | None, text: str) -> int | None:
    while error is not None:
        if isinstance(error, json.JSONDecodeError):
            return error.pos
        if isinstance(error, ParseError):
            line, column = error.position
            return sum(len(each) for each in text.splitlines(keepends=True)[: line - 1]) + column
        error = error.__cause__
    return None
