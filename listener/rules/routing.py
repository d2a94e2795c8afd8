"""Which results go to which handlers: the first rule that matches, and the decision for one result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from listener.core.model import (
    LOST,
    PROGRESS_STATES,
    TERMINAL_STATES,
    Job,
    Result,
    ResultStatus,
    RoutingDecision,
    Source,
    Target,
)
from listener.core.ports import Decide
from listener.formats import activities, callback, user_data
from listener.formats.callback_members import folded_deeply
from listener.formats.setup_message import is_setup_message
from listener.formats.user_data import UserData
from listener.rules.job_facts import is_own, job_facts
from listener.rules.retry import RetryPolicy
from listener.rules.verification import Verification

_NOTHING: Final = object()
_SEVERAL: Final = (list, tuple)
_REPORTED_LOST: Final = "the job was already reported as Lost"
_TEST: Final = "a test message of `mns-listener setup`"
_UNKNOWN_JOB: Final = "no job with this id in the store"
#: What a rule that names no state matches.
USUAL_STATES: Final = tuple(sorted(TERMINAL_STATES - {LOST}))

OneOrMany = str | Sequence[str]
"""One value, or a list or tuple of alternatives; an empty one matches everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The conditions of a rule; an omitted condition matches everything.

    Values compare exactly, except ``type``, ``state`` and ``activity_state``, which ignore case.
    """

    route: OneOrMany = ()  #: the route in the user data
    user_data: OneOrMany = ()  #: shell patterns for the whole text
    data: Mapping[str, Any] = field(
        default_factory=dict
    )  #: members of JSON user data; ``a.b`` is the member ``b`` of ``a``
    function: OneOrMany = ()
    state: OneOrMany = ()  #: if omitted, only terminal states match
    type: OneOrMany = ()
    queue: OneOrMany = ()
    pipeline: OneOrMany = ()
    activity_state: OneOrMany = ()  #: states of which at least one activity of the workflow has one
    callback: Mapping[str, Any] = field(
        default_factory=dict
    )  #: members of the callback; like ``data``, but names ignore case


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One route: its name, conditions and handlers."""

    name: str
    match: Match = field(default_factory=Match)
    handlers: tuple[str, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    targets: tuple[Target, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Needed for every result, so they are created once.
        object.__setattr__(self, "targets", tuple(Target(self.name, handler) for handler in self.handlers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first condition of a rule that a result does not meet."""

    condition: str  #: as in the settings: ``state``, ``data.article`` …
    wanted: Any  #: one value or alternatives; none of a member that only has to be there
    found: Any  #: None if the member is missing
    missing: bool  #: of ``data`` and ``callback``: whether there is no such member
    met: int  #: how many conditions before it the result meets


@dataclass(frozen=True, kw_only=True)
class MatchContext:
    """Everything that conditions can refer to."""

    result: Result
    queue: str
    type: str
    function: str
    pipeline: str
    user_data: UserData

    # Few rules have conditions on these, so the callback is parsed only when one is evaluated.

    @cached_property
    def callback(self) -> Mapping[str, Any]:
        return callback.all_members_of(self.result.raw)

    @cached_property
    def activity_states(self) -> Sequence[str]:
        found = activities.read(self.result.raw) if self.result.run_id else ()
        return [activity.state for activity in found]


class UnknownJobPolicy(StrEnum):
    """How to handle a result whose job is still unknown after ``correlation.wait``."""

    DELIVER = "deliver"
    DEAD_LETTER = "dead-letter"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Correlation:
    """How long a result waits for its job, how it is handled without, and whether MPS has to confirm it."""

    unknown: str = UnknownJobPolicy.DELIVER
    wait: timedelta = timedelta(0)
    verification: Verification = field(default_factory=Verification)

    def for_verified(self) -> Correlation:
        """The same for a result about which MPS was asked."""
        return replace(self, verification=replace(self.verification, done=True))

    def for_recorded(self) -> Correlation:
        """The same for results that were recorded before: they neither wait for their jobs nor are refused."""
        return Correlation(verification=self.for_verified().verification)


def match_context(result: Result, job: Job | None, queue: str) -> MatchContext:
    """The facts of a result and its job."""
    facts = job_facts(result, job)
    return MatchContext(
        result=result,
        queue=queue,
        type=facts.type,
        function=facts.function,
        pipeline=facts.pipeline,
        user_data=user_data.parse(facts.user_data),
    )


def first_match(rules: Sequence[Rule], context: MatchContext) -> Rule | None:
    """The first rule whose conditions all match. The order is the precedence."""
    return next((rule for rule in rules if matches(rule.match, context)), None)


def matches(match: Match, context: MatchContext) -> bool:
    """Whether a result meets all conditions."""
    return all(met for _name, _wanted, _found, met in _conditions(match, context))


def mismatch(match: Match, context: MatchContext) -> Mismatch | None:
    """The first condition that does not match; None if all match."""
    for number, (name, wanted, found, met) in enumerate(_conditions(match, context)):
        if not met:
            missing = found is _NOTHING
            return Mismatch(
                condition=name,
                wanted=wanted,
                found=None if missing else found,
                missing=missing,
                met=number,
            )
    return None


def considered_job(result: Result, job: Job | None, verification: Verification) -> Job | None:
    """The job by which a result is routed: not one that it lists as an activity, if MPS can be asked about it."""
    if job is None or not result.activity_job_ids or verification.is_about(result, job):
        return job
    return None


def decider(rules: Sequence[Rule], correlation: Correlation, *, now: datetime, wait_over: bool) -> Decide:
    """A function that decides about results, with the given rules and time."""

    def decide(result: Result, job: Job | None, queue: str) -> RoutingDecision:
        if is_setup_message(result):
            return RoutingDecision(status=ResultStatus.DROPPED, reason=_TEST)
        if not result.activity_job_ids:
            return decide_about(result, job, queue)
        verification = correlation.verification
        own = considered_job(result, job, verification)
        decision = decide_about(result, own, queue)
        return replace(decision, tenants_asked=verification.tenants_asked, ignores_job=own is not job)

    def decide_about(result: Result, job: Job | None, queue: str) -> RoutingDecision:
        context = match_context(result, job, queue)
        if job is not None and _was_reported_lost(job, result):
            return RoutingDecision(status=ResultStatus.DROPPED, reason=_REPORTED_LOST)
        if job is None and (
            decision := _without_job(rules, correlation, context, now=now, wait_over=wait_over)
        ):
            return decision
        if correlation.verification.needed(result, job, queue):
            return RoutingDecision(status=ResultStatus.VERIFYING, wait_until=now)
        return _routed(rules, context)

    return decide


def _was_reported_lost(job: Job, result: Result) -> bool:
    if result.event and not result.terminal_id:
        return False
    return is_own(result, job) and job.state == LOST and result.source != Source.LISTENER


def _without_job(
    rules: Sequence[Rule], correlation: Correlation, context: MatchContext, *, now: datetime, wait_over: bool
) -> RoutingDecision | None:
    """The decision for a result whose job is unknown; None to route it as usual."""
    if is_mere_progress(rules, context.result):
        return None
    names_a_job = bool(context.result.job_id or context.result.run_id)
    if correlation.wait > timedelta(0) and not wait_over and names_a_job:
        return RoutingDecision(status=ResultStatus.WAITING, wait_until=now + correlation.wait)
    if correlation.unknown == UnknownJobPolicy.DROP:
        return RoutingDecision(status=ResultStatus.DROPPED, reason=_UNKNOWN_JOB)
    if correlation.unknown == UnknownJobPolicy.DEAD_LETTER:
        targets = _targets(first_match(rules, context))
        return RoutingDecision(status=ResultStatus.REFUSED, targets=targets, reason=_UNKNOWN_JOB)
    return None


def _routed(rules: Sequence[Rule], context: MatchContext) -> RoutingDecision:
    if targets := _targets(first_match(rules, context)):
        return RoutingDecision(status=ResultStatus.ROUTED, targets=targets)
    if context.result.state == LOST:
        return RoutingDecision(status=ResultStatus.REFUSED, reason=f"lost: {context.result.message}")
    if context.result.state in PROGRESS_STATES:
        return RoutingDecision(status=ResultStatus.PROGRESS)
    return RoutingDecision(status=ResultStatus.PARKED, reason="no route matches")


def _targets(rule: Rule | None) -> tuple[Target, ...]:
    return rule.targets if rule else ()


def is_mere_progress(rules: Sequence[Rule], result: Result) -> bool:
    """Whether this is a progress report that no rule can match, so waiting for its job is pointless."""
    return result.state in PROGRESS_STATES and not any(_accepts_state(rule.match, result) for rule in rules)


def _conditions(match: Match, context: MatchContext) -> Iterator[tuple[str, Any, Any, bool]]:
    """The name of each condition, what it wants, what was found, and whether it is met."""
    result, given = context.result, context.user_data
    yield (
        "state",
        USUAL_STATES if _is_empty(match.state) else match.state,
        result.state,
        _accepts_state(match, result),
    )
    # Most rules omit most conditions, and this runs for every result.
    if (wanted := match.type) != ():
        yield "type", wanted, context.type, _any_of(wanted, context.type, _equal_ignoring_case)
    if (wanted := match.function) != ():
        yield "function", wanted, context.function, _any_of(wanted, context.function)
    if (wanted := match.queue) != ():
        yield "queue", wanted, context.queue, _any_of(wanted, context.queue)
    if (wanted := match.pipeline) != ():
        yield "pipeline", wanted, context.pipeline, _any_of(wanted, context.pipeline)
    if (wanted := match.route) != ():
        yield "route", wanted, given.route, _any_of(wanted, given.route)
    if (wanted := match.user_data) != ():
        # fnmatch compiles to atomic groups, so that a pattern with many stars does not backtrack.
        yield "user_data", wanted, given.text, _any_of(wanted, given.text, _matches_pattern)
    for path, value in match.data.items():
        found = _at(given.fields, path)
        yield f"data.{path}", value, found, found is not _NOTHING and _any_of(value, found, equal_json)
    if not _is_empty(match.activity_state):
        wanted, states = match.activity_state, context.activity_states
        met = any(_any_of(wanted, each, _equal_ignoring_case) for each in states)
        yield "activity_state", wanted, states, met
    for path, value in match.callback.items():
        found = _at(context.callback, path.lower())
        yield (
            f"callback.{path}",
            value,
            found,
            found is not _NOTHING and _any_of(value, found, _equal_members),
        )


def _accepts_state(match: Match, result: Result) -> bool:
    """States that are not terminal, and Lost, only match rules that name them."""
    if _is_empty(match.state):
        return result.terminal and result.state != LOST
    return _any_of(match.state, result.state, _equal_ignoring_case)


def _is_empty(wanted: OneOrMany) -> bool:
    return isinstance(wanted, _SEVERAL) and not wanted


def _any_of(wanted: Any, found: Any, same: Callable[[Any, Any], bool] = operator.eq) -> bool:
    if not isinstance(wanted, _SEVERAL):
        return same(wanted, found)
    return not wanted or any(same(each, found) for each in wanted)


def _equal_ignoring_case(wanted: str, found: str) -> bool:
    return wanted.casefold() == found.casefold()


def _matches_pattern(wanted: str, text: str) -> bool:
    return fnmatchcase(text, wanted)


def equal_json(wanted: Any, found: Any) -> bool:
    """Equality of JSON values: ``true`` is not 1."""
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


def _equal_members(wanted: Any, found: Any) -> bool:
    return equal_json(folded_deeply(wanted), found)


def _at(fields: Mapping[str, Any], path: str) -> Any:
    """The member at a dotted path; a key that contains dots takes precedence."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _NOTHING
        value = value[name]
    return value
