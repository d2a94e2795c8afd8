"""Which results go to which handlers: the first rule that matches, and the decision for one result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property, partial
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
from listener.core.quick_init import maker
from listener.formats import activities, callback, user_data
from listener.formats.callback_members import folded_deeply
from listener.formats.setup_message import is_setup_message
from listener.formats.user_data import UserData
from listener.rules.job_facts import JobFacts, is_own, job_facts
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
    #: Members of JSON user data; ``a.b`` is the member ``b`` of ``a``.
    data: Mapping[str, Any] = field(default_factory=dict)
    function: OneOrMany = ()
    state: OneOrMany = ()  #: if omitted, only terminal states match
    type: OneOrMany = ()
    queue: OneOrMany = ()
    pipeline: OneOrMany = ()
    activity_state: OneOrMany = ()  #: states of which at least one activity of the workflow has one
    #: Members of the callback; like ``data``, but names ignore case.
    callback: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once, since they are evaluated for every result.
        object.__setattr__(self, "conditions", tuple(_conditions(self)))


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule."""

    name: str  #: as in the settings: ``state``, ``data.article`` …
    wanted: Any  #: one value or alternatives; none of a member that only has to be there
    find: Callable[[MatchContext], Any]  #: returns _NOTHING if the member is missing
    accepts: Callable[[Any], bool]  #: whether what was found meets it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One route: its name, conditions and handlers."""

    name: str
    match: Match = field(default_factory=Match)
    handlers: tuple[str, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    targets: tuple[Target, ...] = field(init=False, repr=False)
    routed: RoutingDecision = field(init=False, repr=False)  #: about every result that goes to its handlers

    def __post_init__(self) -> None:
        # Needed for every result, so they are created once.
        targets = tuple(Target(self.name, handler) for handler in self.handlers)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "routed", RoutingDecision(status=ResultStatus.ROUTED, targets=targets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first condition of a rule that a result does not meet."""

    condition: str  #: as in the settings: ``state``, ``data.article`` …
    wanted: Any  #: one value or alternatives; none of a member that only has to be there
    found: Any  #: None if the member is missing
    missing: bool  #: of ``data`` and ``callback``: whether there is no such member
    met: int  #: how many conditions before it the result meets


@dataclass(frozen=True)
class MatchContext:
    """Everything that conditions can refer to."""

    result: Result
    job: Job | None
    queue: str

    # Few rules have conditions on these, so they are made only when one is evaluated.

    @cached_property
    def facts(self) -> JobFacts:
        return job_facts(self.result, self.job)

    @cached_property
    def user_data(self) -> UserData:
        return user_data.parse(self.facts.user_data)

    @cached_property
    def callback(self) -> Mapping[str, Any]:
        return callback.all_members_of(self.result.raw)

    @cached_property
    def activity_states(self) -> Sequence[str]:
        found = activities.read(self.result.raw) if self.result.run_id else ()
        return [activity.state for activity in found]


match_context = maker(MatchContext)  #: the facts of a result and its job


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


def first_match(rules: Sequence[Rule], context: MatchContext) -> Rule | None:
    """The first rule whose conditions all match. The order is the precedence."""
    for rule in rules:  # a generator takes four times as long, for each result
        if matches(rule.match, context):
            return rule
    return None


def matches(match: Match, context: MatchContext) -> bool:
    """Whether a result meets all conditions."""
    for condition in match.conditions:
        if not condition.accepts(condition.find(context)):
            break
    else:  # a generator for all() takes four times as long, for each result
        return True
    return False


def mismatch(match: Match, context: MatchContext) -> Mismatch | None:
    """The first condition that does not match; None if all match."""
    for number, condition in enumerate(match.conditions):
        found = condition.find(context)
        if not condition.accepts(found):
            missing = found is _NOTHING
            return Mismatch(
                condition=condition.name,
                wanted=condition.wanted,
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
    if job.state != LOST or (result.event and not result.terminal_id):
        return False
    return is_own(result, job) and result.source != Source.LISTENER


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
    rule = first_match(rules, context)
    if rule is not None and rule.targets:
        return rule.routed
    if context.result.state == LOST:
        return RoutingDecision(status=ResultStatus.REFUSED, reason=f"lost: {context.result.message}")
    if context.result.state in PROGRESS_STATES:
        return RoutingDecision(status=ResultStatus.PROGRESS)
    return RoutingDecision(status=ResultStatus.PARKED, reason="no route matches")


def _targets(rule: Rule | None) -> tuple[Target, ...]:
    return rule.targets if rule else ()


def is_mere_progress(rules: Sequence[Rule], result: Result) -> bool:
    """Whether this is a progress report that no rule can match, so waiting for its job is pointless."""
    return result.state in PROGRESS_STATES and not any(
        rule.match.conditions[0].accepts(result.state) for rule in rules
    )


def _conditions(match: Match) -> Iterator[Condition]:
    """The conditions of a rule: first that on the state, which every rule has. Those that are omitted are left out."""
    if _is_empty(match.state):  # states that are not terminal, and Lost, only match rules that name them
        yield Condition("state", USUAL_STATES, _state, frozenset(USUAL_STATES).__contains__)
    else:
        yield Condition("state", match.state, _state, _any_of(match.state, _equal_ignoring_case))
    if (wanted := match.type) != ():
        yield Condition("type", wanted, lambda it: it.facts.type, _any_of(wanted, _equal_ignoring_case))
    if (wanted := match.function) != ():
        yield Condition("function", wanted, lambda it: it.facts.function, _any_of(wanted))
    if (wanted := match.queue) != ():
        yield Condition("queue", wanted, lambda it: it.queue, _any_of(wanted))
    if (wanted := match.pipeline) != ():
        yield Condition("pipeline", wanted, lambda it: it.facts.pipeline, _any_of(wanted))
    if (wanted := match.route) != ():
        yield Condition("route", wanted, lambda it: it.user_data.route, _any_of(wanted))
    if (wanted := match.user_data) != ():
        # fnmatch compiles to atomic groups, so that a pattern with many stars does not backtrack.
        yield Condition("user_data", wanted, lambda it: it.user_data.text, _any_of(wanted, _matches_pattern))
    for path, value in match.data.items():
        accepts = _present(_any_of(value, equal_json))
        yield Condition(f"data.{path}", value, partial(_member, path), accepts)
    if not _is_empty(match.activity_state):
        accepts = _any_of(match.activity_state, _equal_ignoring_case)
        yield Condition(
            "activity_state",
            match.activity_state,
            lambda it: it.activity_states,
            partial(_any_accepted, accepts),
        )
    for path, value in match.callback.items():
        accepts = _present(_any_of(value, _equal_members))
        yield Condition(f"callback.{path}", value, partial(_callback_member, path.lower()), accepts)


def _state(context: MatchContext) -> str:
    return context.result.state


def _member(path: str, context: MatchContext) -> Any:
    """The member of the user data."""
    return _at(context.user_data.fields, path)


def _callback_member(path: str, context: MatchContext) -> Any:
    return _at(context.callback, path)


def _is_empty(wanted: OneOrMany) -> bool:
    return isinstance(wanted, _SEVERAL) and not wanted


def _any_of(wanted: Any, same: Callable[[Any, Any], bool] = operator.eq) -> Callable[[Any], bool]:
    """Whether a value is the one that is wanted, or one of several; no alternatives accept everything."""
    if not isinstance(wanted, _SEVERAL):
        return partial(same, wanted)
    alternatives = tuple(wanted)
    return lambda found: not alternatives or any(same(each, found) for each in alternatives)


def _present(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda found: found is not _NOTHING and accepts(found)


def _any_accepted(accepts: Callable[[Any], bool], found: Sequence[str]) -> bool:
    return any(map(accepts, found))


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
