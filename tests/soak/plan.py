"""What happens in one run, all of it drawn from one seed: callbacks with their expected outcomes, faults, and blows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from listener.emulator.faults import FaultKind
from tests.support.builders import ABSENT, WRAPPINGS, a_callback, wrapped

QUEUES: Final = ("one", "two")
#: Seconds over which callbacks are sent and faults strike.
SPAN: Final = 4.0
LEASE: Final = 3.0
#: Seconds that a listener gives its handlers after SIGTERM.
SHUTDOWN_TIMEOUT: Final = 1.2
#: Seconds that a result waits for its job to be registered.
CORRELATION_WAIT: Final = 4.0
#: Long enough for the lease to expire and for another process to notice.
FREEZE: Final = LEASE + 2.0
STORE_LOCK: Final = 1.0
#: Long enough for every lease to expire.
STORE_OUTAGE: Final = LEASE + 2.0
#: For how long a crashed server is away.
SERVER_AWAY: Final = 1.0
#: For how long the file of the store is another one, or none.
FILE_AWAY: Final = 1.5
#: For how long a clock is wrong; longer than two turns of the reconciler.
CLOCK_WRONG: Final = 2.0
#: Days by which a clock jumps: past deadlines with their timeout, past the retention, and back.
CLOCK_JUMPS: Final = (4.0, 31.0, -0.125, -2.0)
#: The time limit of a webhook, and for how long its receiver trickles on an idle machine.
WEBHOOK_TIMEOUT: Final = 2.0
TRICKLE: Final = 12.0
#: SIGHUPs of one storm.
STORM: Final = 8
MAX_ATTEMPTS: Final = 15
#: A run of no more callbacks than this has fewer blows, since each costs a start.
SMALL: Final = 100
DOOMED_ATTEMPTS: Final = 3


class ExpectedOutcome(StrEnum):
    """The required terminal state of a callback."""

    HANDLED = "handled"
    DEAD = "dead"  #: the handler failed permanently, or on every attempt
    REFUSED = "refused"  #: a dead letter that no handler ever saw: its job is unknown
    DROPPED = "dropped"  #: its job is unknown, and the settings say to drop it
    PARKED = "parked"
    QUARANTINED = "quarantined"
    NOTED = "noted"  #: recorded once, but its state is not terminal, so that no handler hears of it
    SILENT = "silent"  #: there never was a callback


#: What becomes of results whose job is unknown, by the policy of the settings.
OF_UNKNOWN: Final = {
    "deliver": ExpectedOutcome.HANDLED,
    "dead-letter": ExpectedOutcome.REFUSED,
    "drop": ExpectedOutcome.DROPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message put into a queue, ``at`` seconds after the start."""

    at: float
    queue: str
    body: str
    raw: bool = False  #: not escaped, so that the reply which brings it is no XML


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One job, what happens to its callback, and its expected outcome."""

    n: int
    way: str
    expected: ExpectedOutcome
    job_id: str = ""  #: empty for a job that goes through the API, which gives it its id
    route: str = ""
    targets: tuple[str, ...] = ()  #: the handlers that must hear of it
    states: tuple[str, ...] = ("Success",)  #: any one of these is the outcome
    posts: tuple[Post, ...] = ()
    known_at: float | None = 0.0  #: when the store learns of the job; None for never
    function: str = ""  #: of a job that goes through the API, and distinguishes its fault from others
    user_data: str = ""
    run_id: str = ""  #: of a workflow's callback, which has no job id

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the results is this item's."""
        if self.run_id:
            return bool(row["run_id"] == self.run_id)
        return bool(self.job_id) and bool(row["job_id"] == self.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """Something done to a listener process, or to what is under it."""

    at: float
    kind: str  #: one of BLOWS
    slot: int = 0
    days: float = 0.0  #: how far a clock jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    seed: int
    items: tuple[Item, ...]
    faults: tuple[Mapping[str, Any], ...] = ()
    blows: tuple[Blow, ...] = ()
    processes: int = 1
    unknown: str = "deliver"  #: the policy for results whose job is unknown
    store: str = "sqlite"

    @property
    def clock_jumps(self) -> bool:
        return any(blow.kind == "clock" for blow in self.blows)


@dataclass(slots=True)
class Draw:
    """Draws for one item."""

    rng: Random
    n: int
    unknown: str
    job_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.job_id = f"{self.rng.getrandbits(128):032x}"

    def user_data(self, route: str = "recorded", **wishes: Any) -> str:
        return json.dumps({"route": route, "n": self.n, **wishes})

    def body(self, user_data: str, *, how: str = "base64", state: str = "Success") -> str:
        return wrapped(a_callback(JobId=self.job_id, State=state, UserData=user_data), how)

    def post(self, body: str, *, at: float | None = None, raw: bool = False) -> Post:
        at = self.rng.uniform(0, SPAN) if at is None else at
        return Post(at=at, queue=self.rng.choice(QUEUES), body=body, raw=raw)

    def handled(self, way: str, route: str = "recorded", **wishes: Any) -> Item:
        """A callback that arrives once and is handled by its route."""
        text = self.user_data(route, **wishes)
        return self.item(way, ExpectedOutcome.HANDLED, text, route=route, posts=(self.post(self.body(text)),))

    def item(
        self, way: str, expected: ExpectedOutcome, user_data: str, *, route: str = "recorded", **more: Any
    ) -> Item:
        given: dict[str, Any] = {
            "n": self.n,
            "way": way,
            "expected": expected,
            "job_id": self.job_id,
            "route": route,
            "targets": TARGETS[route],
            "user_data": user_data,
        }
        return Item(**(given | more))


Way = Callable[[Draw], Item]
"""Draws one item of its kind."""

#: The routes of the listener's settings, with their handlers; nothing matches ``nowhere``.
TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "recorded": ("record", "once"),
    "single": ("record",),
    "doomed": ("record",),
    "hooked": ("hook",),
    "nowhere": (),
}


def plain(draw: Draw) -> Item:
    return draw.handled("plain", draw.rng.choice(("recorded", "single")))


def wrapped_somehow(draw: Draw) -> Item:
    text, how = draw.user_data(), draw.rng.choice(sorted(WRAPPINGS))
    return draw.item("wrapped", ExpectedOutcome.HANDLED, text, posts=(draw.post(draw.body(text, how=how)),))


def of_failed_job(draw: Draw) -> Item:
    text = draw.user_data()
    posts = (draw.post(draw.body(text, state="Fail")),)
    return draw.item("job-failed", ExpectedOutcome.HANDLED, text, states=("Fail",), posts=posts)


def duplicated(draw: Draw) -> Item:
    text = draw.user_data()
    posts = tuple(draw.post(draw.body(text)) for _ in range(draw.rng.randint(2, 4)))
    return draw.item("duplicated", ExpectedOutcome.HANDLED, text, posts=posts)


def contradicted(draw: Draw) -> Item:
    text, states = draw.user_data(), ("Success", "Fail")
    posts = tuple(draw.post(draw.body(text, state=state)) for state in states)
    return draw.item("contradicted", ExpectedOutcome.HANDLED, text, states=states, posts=posts)


def progressing(draw: Draw) -> Item:
    text = draw.user_data()
    posts = tuple(draw.post(draw.body(text, state=state)) for state in ("Processing", "Success"))
    return draw.item("progressing", ExpectedOutcome.HANDLED, text, posts=posts)


def early(draw: Draw) -> Item:
    """Its job is registered after the callback, within the correlation wait."""
    text, at = draw.user_data(), draw.rng.uniform(0, SPAN)
    posts = (draw.post(draw.body(text), at=at),)
    return draw.item(
        "early", ExpectedOutcome.HANDLED, text, posts=posts, known_at=at + draw.rng.uniform(0.1, 0.8)
    )


def late(draw: Draw) -> Item:
    text = draw.user_data()
    return draw.item(
        "late", ExpectedOutcome.HANDLED, text, posts=(draw.post(draw.body(text), at=SPAN + 0.5),)
    )


def unknown(draw: Draw) -> Item:
    text = draw.user_data()
    posts = (draw.post(draw.body(text)),)
    return draw.item("unknown", OF_UNKNOWN[draw.unknown], text, posts=posts, known_at=None)


def unrouted(draw: Draw) -> Item:
    text = draw.user_data("nowhere")
    return draw.item(
        "unrouted", ExpectedOutcome.PARKED, text, route="nowhere", posts=(draw.post(draw.body(text)),)
    )


def failing(draw: Draw) -> Item:
    return draw.handled("failing", do="fail", times=draw.rng.randint(1, 2))


def retrying(draw: Draw) -> Item:
    return draw.handled("retrying", do="retry", times=draw.rng.randint(1, 2))


def unavailable(draw: Draw) -> Item:
    return draw.handled("unavailable", do="unavailable", times=draw.rng.randint(1, 3))


def slow(draw: Draw) -> Item:
    return draw.handled("slow", do="slow", seconds=round(draw.rng.uniform(0.2, 1.5), 2))


def very_slow(draw: Draw) -> Item:
    """Longer than its lease, which has to be renewed meanwhile."""
    text = draw.user_data("single", do="slow", seconds=LEASE + 0.7)
    posts = (draw.post(draw.body(text), at=draw.rng.uniform(0, 1)),)
    return draw.item("very-slow", ExpectedOutcome.HANDLED, text, route="single", posts=posts)


def doomed(draw: Draw) -> Item:
    text = draw.user_data("doomed", do="fail", times=DOOMED_ATTEMPTS + MAX_ATTEMPTS)
    return draw.item(
        "doomed", ExpectedOutcome.DEAD, text, route="doomed", posts=(draw.post(draw.body(text)),)
    )


def rejected(draw: Draw) -> Item:
    text = draw.user_data("single", do="reject")
    return draw.item(
        "rejected", ExpectedOutcome.DEAD, text, route="single", posts=(draw.post(draw.body(text)),)
    )


GARBLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "cut-json": lambda text: text[: len(text) // 2],
    "cut-base64": lambda text: wrapped(text)[: len(text) // 2],
    "array": lambda text: f"[{text}]",
    "no-id": lambda text: text.replace('"JobId"', '"Jop"'),
    "prose": lambda text: f"callback {text}",
    "other-xml": lambda text: f"<Callback>{wrapped(text)}</Callback>",
    "too-deep": lambda text: wrapped(wrapped(wrapped(wrapped(wrapped(wrapped(text)))))),
    "not-utf-8": lambda text: "//79" + wrapped(text),
}


def garbled(draw: Draw) -> Item:
    """Its callback can't be read; the body carries the number, so that no two are alike."""
    text = draw.user_data()
    how = draw.rng.choice(sorted(GARBLINGS))
    callback = a_callback(n=draw.n, JobId=draw.job_id, State="Success", UserData=text)
    body = GARBLINGS[how](callback) + " " * draw.n
    return draw.item(f"garbled-{how}", ExpectedOutcome.QUARANTINED, text, posts=(draw.post(body),))


def ill_formed(draw: Draw) -> Item:
    """A body that XML can't carry, in a reply that has good neighbours too."""
    text = draw.user_data()
    body = f"\x01\x02 garbage {draw.n} & <"
    return draw.item("ill-formed", ExpectedOutcome.QUARANTINED, text, posts=(draw.post(body, raw=True),))


def trickled_body(draw: Draw) -> Item:
    """Its receiver answers, and then sends a body that takes far longer than the webhook's time limit."""
    return draw.handled("trickled-body", "hooked", do="trickle-body")


def trickled_headers(draw: Draw) -> Item:
    """Its receiver never completes the headers of the first answer."""
    return draw.handled("trickled-headers", "hooked", do="trickle-headers")


def poisoned(draw: Draw) -> Item:
    """Its run id, type and unheard-of state make the longest key there can be, which can't be compressed."""
    run_id, type_, state = (_astral(draw.rng) for _ in range(3))
    text = draw.user_data()
    callback = a_callback(JobId=ABSENT, RunId=run_id, Type=type_, State=state, UserData=text)
    posts = (draw.post(wrapped(callback)),)
    return draw.item(
        "poisoned", ExpectedOutcome.NOTED, text, job_id="", run_id=run_id, known_at=None, posts=posts
    )


def poisoned_end(draw: Draw) -> Item:
    """The outcome of a workflow with such a run id and type; its job is unknown."""
    run_id, text = _astral(draw.rng), draw.user_data("single")
    callback = a_callback(JobId=ABSENT, RunId=run_id, Type=_astral(draw.rng), UserData=text)
    posts = tuple(draw.post(wrapped(callback)) for _ in range(2))
    expected = OF_UNKNOWN[draw.unknown]
    return draw.item(
        "poisoned-end",
        expected,
        text,
        route="single",
        job_id="",
        run_id=run_id,
        known_at=None,
        posts=posts,
    )


def oversized(draw: Draw) -> Item:
    """Longer than any label may be."""
    text, name = draw.user_data(), draw.rng.choice(("JobId", "Type", "State"))
    body = a_callback(**({"JobId": draw.job_id, "UserData": text} | {name: f"{draw.n}-" + "x" * 3_000}))
    return draw.item("oversized", ExpectedOutcome.QUARANTINED, text, posts=(draw.post(body),))


def _astral(rng: Random) -> str:
    """256 characters of four bytes each."""
    return "".join(chr(rng.randrange(0x20000, 0x2A6D0)) for _ in range(256))


#: Jobs that go through the API, by function: the callback's or the call's own fault, and the expected outcome.
THROUGH_API: Final[Mapping[str, tuple[Mapping[str, Any] | None, ExpectedOutcome]]] = {
    "SoakPlain": (None, ExpectedOutcome.HANDLED),
    "SoakDropped": ({"kind": FaultKind.DROP}, ExpectedOutcome.SILENT),
    "SoakDuplicated": ({"kind": FaultKind.DUPLICATE, "copies": 2}, ExpectedOutcome.HANDLED),
    "SoakLate": ({"kind": FaultKind.LATE, "seconds": 1.0}, ExpectedOutcome.HANDLED),
    "SoakReordered": ({"kind": FaultKind.REORDER, "seconds": 0.7}, ExpectedOutcome.HANDLED),
    "SoakGarbled": ({"kind": FaultKind.GARBLE, "keep": 0.55}, ExpectedOutcome.QUARANTINED),
    "SoakEarly": ({"kind": FaultKind.EARLY, "seconds": 0.15, "service": "mps"}, ExpectedOutcome.HANDLED),
    "SoakReplyLost": ({"kind": FaultKind.DROP_REPLY, "service": "mps"}, ExpectedOutcome.HANDLED),
    "SoakRefused": ({"kind": FaultKind.ERROR, "service": "mps"}, ExpectedOutcome.SILENT),
}

API_FAULTS: Final[tuple[Mapping[str, Any], ...]] = tuple(
    {**fault, "name": function, "function": function}
    for function, (fault, _) in THROUGH_API.items()
    if fault is not None
)


def through_api(draw: Draw) -> Item:
    function = draw.rng.choice(sorted(THROUGH_API))
    return draw.item(
        f"api-{function}", THROUGH_API[function][1], draw.user_data(), job_id="", function=function
    )


#: How many of a hundred go each way.
WEIGHTS: Final[Mapping[Way, float]] = {
    plain: 26,
    through_api: 12,
    wrapped_somehow: 9,
    duplicated: 9,
    early: 6,
    garbled: 6,
    of_failed_job: 4,
    contradicted: 4,
    failing: 4,
    slow: 3,
    late: 3,
    unknown: 3,
    unrouted: 3,
    progressing: 2,
    retrying: 2,
    unavailable: 2,
    doomed: 2,
    rejected: 2,
    ill_formed: 1,
    very_slow: 0.4,
}


#: More of these in a run that is not small.
ROUGH: Final[Mapping[Way, float]] = {
    trickled_body: 0.7,
    trickled_headers: 0.7,
    poisoned: 1,
    poisoned_end: 1,
    oversized: 1,
}

#: What is done to processes and to what is under them, with weights; the first four in small runs too.
BLOWS: Final[Mapping[str, float]] = {
    "kill": 10,
    "stop": 4,
    "freeze": 2,
    "lock": 2,
    "hup": 2,
    "log-full": 1.5,
    "log-gone": 1.5,
    "log-stalled": 1.5,
    "clock": 2,
    "outage": 2,
}
OF_SQLITE: Final[Mapping[str, float]] = {"file-away": 1.5, "file-replaced": 1.5, "wal-removed": 1.5}
OF_POSTGRESQL: Final[Mapping[str, float]] = {"server-freeze": 3, "server-kill": 3}


#: The ways of callbacks that could stop the neighbours in their batch.
POISONS: Final = ("poisoned", "poisoned-end", "oversized")


def blows_of(store: str) -> Mapping[str, float]:
    """All that can be done where this is the store."""
    return {**BLOWS, **(OF_POSTGRESQL if store == "postgresql" else OF_SQLITE)}


def drawn(seed: int, *, messages: int, store: str = "sqlite") -> Plan:
    """The plan of this seed."""
    rng = Random(f"soak/{seed}")
    small = messages <= SMALL
    policy = rng.choice(("deliver", "dead-letter", "drop"))
    processes = 2 if store == "postgresql" else rng.choice((1, 2, 2))
    return Plan(
        seed=seed,
        items=items(rng, messages=messages, unknown=policy, ways=WEIGHTS if small else {**WEIGHTS, **ROUGH}),
        faults=tuple(_faults(rng)),
        blows=tuple(_small_blows(rng, processes) if small else _blows(rng, processes, blows_of(store), seed)),
        processes=processes,
        unknown=policy,
        store=store,
    )


def items(
    rng: Random,
    *,
    messages: int,
    unknown: str = "deliver",
    ways: Mapping[Way, float] = WEIGHTS,
) -> tuple[Item, ...]:
    """So many items, each of its own way."""
    chosen = rng.choices(list(ways), weights=list(ways.values()), k=messages)
    return tuple(way(Draw(rng=rng, n=n, unknown=unknown)) for n, way in enumerate(chosen))


def one_of_each(rng: Random) -> tuple[Item, ...]:
    """One item of every way that is part of a small run."""
    return tuple(way(Draw(rng=rng, n=n, unknown="deliver")) for n, way in enumerate(WEIGHTS))


def _small_blows(rng: Random, processes: int) -> Sequence[Blow]:
    kinds = list(BLOWS)[:4]
    drawn = rng.choices(kinds, weights=[BLOWS[kind] for kind in kinds], k=rng.randint(1, 2))
    return [_blow(rng, kind, processes) for kind in ("kill", *drawn[1:])]


def _blows(rng: Random, processes: int, weights: Mapping[str, float], seed: int) -> Sequence[Blow]:
    """A kill, the kind whose turn it is, so that a few seeds have them all, and perhaps some more."""
    others = list(weights)[1:]
    kinds = rng.choices(list(weights), weights=list(weights.values()), k=rng.randint(0, 2))
    return [_blow(rng, kind, processes) for kind in ("kill", others[seed % len(others)], *kinds)]


def _blow(rng: Random, kind: str, processes: int) -> Blow:
    at, slot = rng.uniform(0.3, SPAN + 0.5), rng.randrange(processes)
    return Blow(at=at, kind=kind, slot=slot, days=rng.choice(CLOCK_JUMPS) if kind == "clock" else 0.0)


def _faults(rng: Random) -> Sequence[Mapping[str, Any]]:
    """The faults of the API jobs, which always strike, and a good half of those that strike at random."""
    return [*API_FAULTS, *(fault for fault in _request_faults(rng) if rng.random() < 0.6)]


def _request_faults(rng: Random) -> Sequence[Mapping[str, Any]]:
    receive, delete = {"operation": "*Receive*"}, {"operation": "*Delete*"}
    either = rng.choice((receive, delete))
    return [
        _some(rng, FaultKind.LATENCY, seconds=0.2, probability=0.3),
        _some(rng, FaultKind.STALL, count=1, **receive),
        _some(rng, FaultKind.STALL, count=1, after=True, **either),
        _some(rng, FaultKind.RESET, count=3, **either),
        _some(rng, FaultKind.RESET, count=2, after=True, **either),
        _some(rng, FaultKind.HANG_UP, count=3),
        _some(rng, FaultKind.DROP_REPLY, count=3, **either),
        _some(rng, FaultKind.TRUNCATE, count=3, keep=round(rng.random() * 0.99, 2), **either),
        _some(rng, FaultKind.UNASKED, count=3, **either),
        _some(
            rng,
            FaultKind.ERROR,
            count=3,
            body=rng.choice(("xml", "html", "empty")),
            status=rng.choice((500, 502, 503)),
        ),
        _some(rng, FaultKind.THROTTLE, count=3),
        _some(rng, FaultKind.THROTTLE, count=2, service="mps"),
        _some(rng, FaultKind.REJECT_SIGNATURE, count=2),
        _some(rng, FaultKind.CLOCK_SKEW, count=2, seconds=rng.choice((-1200.0, 1200.0))),
        _some(rng, FaultKind.EXPIRE_HANDLES, count=4, **delete),
        _some(rng, FaultKind.EMPTY_POLL, count=5, **receive),
        _some(rng, FaultKind.LATENCY, seconds=0.4, probability=0.3, after=True, **either),
    ]  # fmt: skip


def _some(rng: Random, kind: FaultKind, **details: Any) -> Mapping[str, Any]:
    """The fault within a window of its own."""
    start = round(rng.uniform(0.5, SPAN - 1), 2)
    window = {"start": start, "stop": round(start + rng.uniform(0.5, 2.5), 2)}
    return {"kind": kind, "service": "mns", "probability": 0.7, **window, **details}
