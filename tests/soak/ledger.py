"""The oracle: compares the evidence of a run with its plan and accounts for every callback.

Pure. Whatever the plan does not explain is a complaint.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tests.soak.evidence import ANY_PROCESS, STORE, Call, Ending, Evidence, Row
from tests.soak.plan import (
    CORRELATION_WAIT,
    DOOMED_ATTEMPTS,
    LEASE,
    OF_UNKNOWN,
    SHUTDOWN_TIMEOUT,
    WEBHOOK_TIMEOUT,
    ExpectedOutcome,
    Item,
    Plan,
)

#: A handler's return and its commit are less than this apart, even where two processes wait for each other's write
#: lock on one SQLite file; a kill that came later excuses nothing.
COMMIT = 3.0
#: A handler returns at most this long after the time that it logged: its line has to reach the disk.
WRITING = 0.4
#: A webhook's time limit is noticed within this time, on a busy machine.
NOTICED = 4.0
#: Its receiver learns of it within this time.
HUNG_UP = 1.0
#: What may end a call, or keep its end from being written: a SIGHUP is not among it, nor is what the store, the clock
#: or the log suffers from. A changed store file is: its processes refuse to write to it, and are killed.
ENDS = {"kill", "stop", "freeze", "file-replaced", "wal-removed"}
MICROSECONDS = 1_000_000
TERMINAL = {"Success", "Fail", "Cancelled", "Lost"}


@dataclass(frozen=True, slots=True)
class Complaint:
    kind: str  #: lost, doubled, overlapping, misdelivered, unexplained, hung or trouble
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Every callback with its expected outcome, and every repeat with its cause."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)  #: calls after a return, by what came between
    #: Calls after one that never ended, by what ended it.
    resumed: Mapping[str, int] = field(default_factory=dict)
    complaints: Sequence[Complaint] = ()

    def count(self, kind: str) -> int:
        return sum(complaint.kind == kind for complaint in self.complaints)


def account_for(plan: Plan, evidence: Evidence) -> Accounting:
    """Go through everything that was planned, then through everything that was found."""
    named = with_job_ids(plan.items, evidence.rows.jobs)
    items = [_as_known(item, evidence, plan) for item in named]
    repeats: Counter[str] = Counter()
    resumed: Counter[str] = Counter()
    complaints = [
        *(Complaint("trouble", text) for text in evidence.troubles),
        *_queues_left(evidence),
        *_unexplained(items, evidence),
        *(complaint for item in items for complaint in _Case(item, evidence).complaints()),
        *_effects(evidence),
        *_slow_webhooks(evidence),
    ]
    for series in _series(evidence.calls).values():
        for before, after in pairwise(series):
            complaints += _follow_up(before, after, evidence, repeats, resumed)
        complaints += _first(series[0], evidence)
    outcomes = Counter(item.expected.value for item in items)
    return Accounting(outcomes=outcomes, repeats=repeats, resumed=resumed, complaints=complaints)


def with_job_ids(items: Iterable[Item], jobs: Sequence[Row]) -> list[Item]:
    """Jobs that went through the API have their ids from there; the store has learnt them."""
    by_reference = {row["reference"]: row["job_id"] or "" for row in jobs if row["reference"]}
    return [
        item if item.job_id else replace(item, job_id=by_reference.get(reference(item), "")) for item in items
    ]


def _as_known(item: Item, evidence: Evidence, plan: Plan) -> Item:
    """An early callback may have an unknown job where the wait for it can have been over before it was registered: the
    machine was busy, the store was stalled, or a clock jumped, which makes timestamps prove nothing.

    What counts is when the registration was committed, not the time that it states.
    """
    if not item.known_at:
        return item
    of_unknown = OF_UNKNOWN[plan.unknown]
    results = [row for row in evidence.rows.results if item.matches(row)]
    registered = evidence.registered.get(item.n, 0)
    in_time = all(registered - row["received_at"] < CORRELATION_WAIT * MICROSECONDS for row in results)
    if in_time and not plan.clock_jumps:
        return item
    as_unknown = {row["status"] for row in results} == {EXPECTED_STATUS[of_unknown]}
    return replace(item, expected=of_unknown) if as_unknown else item


def reference(item: Item) -> str:
    return f"n{item.n}"


class _Case:
    """One item and everything that was found about it."""

    def __init__(self, item: Item, evidence: Evidence) -> None:
        rows = evidence.rows
        self.item = item
        self.calls = [call for call in evidence.calls if call.n == item.n]
        self.results = [row for row in rows.results if item.matches(row)]
        self.outcomes = [row for row in self.results if row["state"] in TERMINAL]
        ids = {row["id"] for row in self.results}
        self.deliveries = [row for row in rows.deliveries if row["result"] in ids]
        self.job = next((row for row in rows.jobs if item.job_id and row["job_id"] == item.job_id), None)
        self.quarantined = [row for row in rows.quarantine if holds(row, item)]

    def complaints(self) -> Iterator[Complaint]:
        yield from self._one_outcome()
        yield from self._noted()
        yield from self._deliveries()
        yield from self._right_handlers()
        yield from self._quarantine()
        yield from self._job()

    def _complaint(self, kind: str, text: str) -> Complaint:
        return Complaint(kind, f"{self.item.n} ({self.item.way}, job {self.item.job_id}): {text}")

    def _one_outcome(self) -> Iterator[Complaint]:
        wanted = self.item.expected not in WITHOUT_OUTCOME
        if wanted and not self.outcomes:
            yield self._complaint("lost", "its result is not in the store")
        if len(self.outcomes) > wanted:
            yield self._complaint("doubled", f"{len(self.outcomes)} outcomes are in the store")
        for row in self.outcomes:
            expected = EXPECTED_STATUS[self.item.expected]
            if row["status"] != expected:
                yield self._complaint("misdelivered", f"its result is {row['status']}, not {expected}")
            if row["state"] not in self.item.states:
                yield self._complaint("misdelivered", f"it is {row['state']}, none of {self.item.states}")

    def _noted(self) -> Iterator[Complaint]:
        if self.item.expected is ExpectedOutcome.NOTED and len(self.results) != 1:
            kind = "doubled" if self.results else "lost"
            yield self._complaint(kind, f"it is recorded {len(self.results)} times")

    def _deliveries(self) -> Iterator[Complaint]:
        expected = {(self.item.route, handler): state for handler, state in _delivery_states(self.item)}
        if self.item.expected is ExpectedOutcome.NOTED and self._refused():
            expected = {NO_TARGET: "dead"}
        found = [(row["route"], row["handler"]) for row in self.deliveries]
        for target in expected.keys() - set(found):
            yield self._complaint("lost", f"it has no delivery to {target}")
        for target, times in Counter(found).items():
            if target not in expected:
                yield self._complaint("misdelivered", f"it went to {target}")
            elif times > 1:
                yield self._complaint("doubled", f"it has {times} deliveries to {target}")
        for row in self.deliveries:
            state = expected.get((row["route"], row["handler"]), row["state"])
            if row["state"] != state:
                yield self._complaint(
                    "lost", f"its delivery to {row['handler']} is {row['state']}, not {state}"
                )

    def _refused(self) -> bool:
        return any(row["status"] == EXPECTED_STATUS[ExpectedOutcome.REFUSED] for row in self.results)

    def _right_handlers(self) -> Iterator[Complaint]:
        heard: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            heard[call.handler].append(call)
            if (call.route, call.job) != (self.item.route, self.item.job_id):
                yield self._complaint("misdelivered", f"route {call.route} heard of job {call.job}")
        for handler, state in _delivery_states(self.item):
            yield from self._heard(handler, state, heard.pop(handler, []))
        for handler, calls in heard.items():
            yield self._complaint("misdelivered", f"{handler} heard of it {len(calls)} times")

    def _heard(self, handler: str, state: str, calls: Sequence[Call]) -> Iterator[Complaint]:
        returned = any(call.how == "returned" for call in calls)
        if self.item.expected is ExpectedOutcome.HANDLED and not returned:
            yield self._complaint("lost", f"{handler} never finished with it ({len(calls)} calls)")
        if self.item.expected is ExpectedOutcome.DEAD and (returned or not calls):
            yield self._complaint("misdelivered", f"{handler} should have failed; {len(calls)} calls")
        if self.item.expected is ExpectedOutcome.REFUSED and calls:
            yield self._complaint("misdelivered", f"{handler} heard of an unknown job")
        if self.item.route == "doomed" and len(calls) > DOOMED_ATTEMPTS:
            yield self._complaint(
                "doubled", f"{handler} was called {len(calls)} times, more than its attempts"
            )
        if len({call.key for call in calls}) > 1:
            yield self._complaint("doubled", f"{handler} heard of it under several keys")

    def _quarantine(self) -> Iterator[Complaint]:
        through_api = 1 if self.item.function else len(self.item.posts)
        wanted = through_api if self.item.expected is ExpectedOutcome.QUARANTINED else 0
        if len(self.quarantined) < wanted:
            yield self._complaint("lost", "it is not in quarantine")
        if len(self.quarantined) > wanted:
            yield self._complaint("doubled", f"it is in quarantine {len(self.quarantined)} times")

    def _job(self) -> Iterator[Complaint]:
        if self.job is None or not self.outcomes:
            if self.job is not None and self.job["state"] not in ("submitted", "intent"):
                yield self._complaint("unexplained", f"its job is {self.job['state']} without a result")
        elif self.job["state"] != self.outcomes[0]["state"]:
            yield self._complaint("lost", f"its job is {self.job['state']}, not {self.outcomes[0]['state']}")


#: Route and handler of a dead letter that would not have gone anywhere.
NO_TARGET = ("", "")
WITHOUT_OUTCOME = {ExpectedOutcome.QUARANTINED, ExpectedOutcome.SILENT, ExpectedOutcome.NOTED}
EXPECTED_STATUS: Mapping[ExpectedOutcome, str] = {
    ExpectedOutcome.HANDLED: "routed",
    ExpectedOutcome.DEAD: "routed",
    ExpectedOutcome.REFUSED: "refused",
    ExpectedOutcome.DROPPED: "dropped",
    ExpectedOutcome.PARKED: "parked",
    ExpectedOutcome.QUARANTINED: "in quarantine",
    ExpectedOutcome.NOTED: "of any status",
    ExpectedOutcome.SILENT: "absent",
}


def _delivery_states(item: Item) -> Iterator[tuple[str, str]]:
    """The handlers of an item with the states that its deliveries must end in."""
    if item.expected in (ExpectedOutcome.HANDLED, ExpectedOutcome.DEAD, ExpectedOutcome.REFUSED):
        state = "done" if item.expected is ExpectedOutcome.HANDLED else "dead"
        yield from ((handler, state) for handler in item.targets)


def holds(row: Row, item: Item) -> bool:
    """Whether a row of the quarantine is this item's message."""
    if item.function:
        return bool(item.job_id) and item.job_id in _beginning(row["body"])
    return (
        any(row["body"].strip() == post.body.strip() for post in item.posts)
        and item.expected is ExpectedOutcome.QUARANTINED
    )


def _beginning(body: str) -> str:
    """The text of a truncated callback before the cut."""
    try:
        return base64.b64decode(body[: len(body) // 4 * 4]).decode("utf-8", "replace")
    except ValueError:
        return ""


def _queues_left(evidence: Evidence) -> Iterator[Complaint]:
    if evidence.left_in_queues:
        yield Complaint("lost", f"{evidence.left_in_queues} messages are still in the queues")


def _unexplained(items: Sequence[Item], evidence: Evidence) -> Iterator[Complaint]:
    numbers = {item.n for item in items}
    jobs = {name for item in items for name in (item.job_id, item.run_id) if name}
    results = {row["id"] for row in evidence.rows.results}
    for call in evidence.calls:
        if call.n not in numbers:
            yield Complaint("unexplained", f"a handler was called for {call}")
    for row in evidence.rows.results:
        if (row["job_id"] or row["run_id"]) not in jobs:
            yield Complaint("unexplained", f"a result of the unknown job {row['job_id'] or row['run_id']}")
    for row in evidence.rows.deliveries:
        if row["result"] not in results:
            yield Complaint("unexplained", f"delivery {row['id']} belongs to no result")
    doubtful = [item for item in items if item.expected is ExpectedOutcome.QUARANTINED]
    for row in evidence.rows.quarantine:
        if not any(holds(row, item) for item in doubtful):
            yield Complaint("unexplained", f"in quarantine: {row['reason']}: {row['body'][:60]!r}")


def _effects(evidence: Evidence) -> Iterator[Complaint]:
    """The handler that uses the key has had exactly one effect for each delivery."""
    keys = {call.key for call in evidence.calls if call.handler == "once"}
    if evidence.effects != len(keys):
        yield Complaint("unexplained", f"{len(keys)} keys have had {evidence.effects} effects")


def _slow_webhooks(evidence: Evidence) -> Iterator[Complaint]:
    """Whatever its receiver does, and as long as its process is not frozen, a webhook ends at its time limit."""
    frozen = [ending for ending in evidence.endings if ending.kind == "freeze"]
    for call in evidence.calls:
        if call.pid != ANY_PROCESS or call.ended is None:
            continue
        excused = sum(_overlap(ending, call.begun, call.ended) for ending in frozen)
        if call.ended - call.begun - excused > WEBHOOK_TIMEOUT + NOTICED * evidence.slowness:
            yield Complaint("hung", f"{call.key}: the webhook took {call.ended - call.begun:.1f} s")


def _overlap(ending: Ending, since: float, until: float) -> float:
    return max(0.0, min(ending.until, until) - max(ending.since, since))


def _series(calls: Sequence[Call]) -> Mapping[str, list[Call]]:
    """The calls of each key, in the order of their beginnings."""
    series: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        series[call.key].append(call)
    return series


def _first(call: Call, evidence: Evidence) -> Iterator[Complaint]:
    """Attempts before the first call were claimed by processes that ended before they began it, or given back."""
    skipped = _attempts_of(call, range(1, call.attempt))
    ended = any(ending.since < call.begun for ending in evidence.endings)
    if not (ended or skipped <= evidence.given_back):
        yield Complaint("unexplained", f"{call.key} begins with attempt {call.attempt}")


def _follow_up(
    before: Call, after: Call, evidence: Evidence, repeats: Counter[str], resumed: Counter[str]
) -> Iterator[Complaint]:
    """One call and the next one for the same key."""
    between = [
        ending for ending in evidence.endings if ending.until > before.begun and ending.since < after.begun
    ]
    own = [ending for ending in between if ending.pid == before.pid or _of_any(before, ending)]
    yield from _attempts(before, after, between, evidence.given_back)
    # The receiver of a webhook learns that its caller has hung up a moment after the caller went on.
    learnt = HUNG_UP * evidence.slowness if before.pid == ANY_PROCESS and before.how == "raised" else 0.0
    overlaps = before.ended is not None and before.ended - learnt > after.begun
    if before.how == "raised" and not overlaps:
        return
    frozen = sum(
        ending.until - ending.since
        for ending in between
        if (ending in own and ending.kind == "freeze") or _stopped_the_store(ending, before)
    )
    slack = frozen + COMMIT * (evidence.slowness - 1)
    writing = WRITING * evidence.slowness
    causes = [ending for ending in own if _excuses(ending, before, slack=slack, writing=writing)]
    causes += [
        ending
        for ending in between
        if ending.pid != before.pid and ending.until < after.begun and _held_the_store(ending, before)
    ]
    if causes:
        (resumed if overlaps or before.ended is None else repeats)[causes[0].kind] += 1
    elif overlaps or before.ended is None:
        yield Complaint("overlapping", f"{before.key}: {before} and {after}")
    else:
        yield Complaint("doubled", f"{before.key}: {before} and {after}")


def _attempts(
    before: Call, after: Call, between: Sequence[Ending], given_back: Set[tuple[str, int]]
) -> Iterator[Complaint]:
    """The next attempt has the next number; a number is skipped only if its lease expired before the call, if its
    process ended or reloaded its handlers before it, or if the store was away, which loses the answer to a claim."""
    skipped = _attempts_of(before, range(before.attempt + 1, after.attempt))
    if after.attempt <= before.attempt or not (between or skipped <= given_back):
        yield Complaint("unexplained", f"{before.key}: attempt {after.attempt} after {before.attempt}")


def _attempts_of(call: Call, numbers: range) -> Set[tuple[str, int]]:
    """These attempts at its delivery, as evidence has them."""
    return {(call.key, number) for number in numbers}


def _of_any(call: Call, ending: Ending) -> bool:
    """Whether this may have been done to the process of a call that does not know its process."""
    return call.pid == ANY_PROCESS and ending.pid != STORE


def _stopped_the_store(ending: Ending, call: Call) -> bool:
    """Whether the store was away when the end of this call was to be written, so that it was written later.

    That alone excuses nothing: the end is kept until it can be written.
    """
    if ending.pid != STORE or call.ended is None:
        return False
    return ending.since <= call.ended + COMMIT and call.ended <= ending.until


def _held_the_store(ending: Ending, call: Call) -> bool:
    """Whether no process could record the end of this call before its lease expired: the store was away, or another
    process may have been frozen in the middle of a transaction."""
    if (ending.kind != "freeze" and ending.pid != STORE) or call.ended is None:
        return False
    return (
        ending.until - ending.since > LEASE
        and ending.since <= call.ended + COMMIT
        and call.ended <= ending.until
    )


def _excuses(ending: Ending, call: Call, *, slack: float, writing: float) -> bool:
    """Whether what was done to the process kept this call's end from being written down.

    ``slack`` is for how long the process could do nothing at all, or was slow; ``writing`` is how much later than it
    says the handler may have returned.
    """
    if ending.kind not in ENDS:
        return False
    if call.ended is None:
        return ending.kind != "freeze"
    if ending.kind == "stop" and call.ended < ending.since + SHUTDOWN_TIMEOUT - writing:
        return False  # a polite stop loses only what exceeds the shutdown time-out
    long_enough = ending.kind != "freeze" or ending.until - ending.since > LEASE
    return long_enough and ending.since <= call.ended + COMMIT + slack
