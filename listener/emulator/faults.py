"""Faults: what is injected, when, and how often it took effect.

A fault matches occasions: requests by service, operation, queue and function, callbacks by queue and function. Of the
matching occasions it selects by probability, by count or every n-th one. Each fault has its own random generator, so
that the same seed selects the same occasions, independent of everything else.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

from listener.emulator.virtual_clock import VirtualClock

MAX_FAULTS = 1000
#: Of the copies of one callback.
MAX_COPIES = 1000
#: Of seconds, a year: more than any test waits, and no more than the clock can count.
MAX_SECONDS = 366 * 86_400
#: The keys of a fault that are seconds, and those that are free text.
DURATIONS = ("seconds", "start", "stop")
TEXTS = ("name", "service", "operation", "queue", "topic", "function")

#: The operation of a push of a topic, whose faults are those of callbacks.
PUSH = "Notify"

#: What pydantic calls an argument that a dataclass does not have.
UNKNOWN_KEY = "unexpected_keyword_argument"


class FaultError(ValueError):
    """An invalid fault; the message names the key and its value."""


class FaultKind(StrEnum):
    """The kind of a fault."""

    # Requests
    LATENCY = "latency"  #: the reply takes ``seconds`` longer
    STALL = "stall"  #: the connection is accepted, but never answered
    RESET = "reset"  #: the connection ends with a TCP reset
    HANG_UP = "hang-up"  #: the connection is closed cleanly, without a reply
    DROP_REPLY = "drop-reply"  #: executed, then the connection is closed without a reply
    TRUNCATE = "truncate"  #: executed; only the fraction ``keep`` of the reply body is sent
    UNASKED = "unasked"  #: executed; after the reply, another one is sent that no request asked for
    ERROR = "error"  #: not executed; ``status`` with a ``body`` in XML, HTML or none
    THROTTLE = "throttle"  #: not executed; TooManyRequests or Throttling.User
    REJECT_SIGNATURE = "reject-signature"  #: not executed; SignatureDoesNotMatch
    CLOCK_SKEW = "clock-skew"  #: the clock of the service is ``seconds`` ahead, or behind if negative
    EXPIRE_HANDLES = "expire-handles"  #: all receipt handles of the queue expire before execution
    EMPTY_POLL = "empty-poll"  #: a receive immediately returns no messages, even if there are some
    EARLY = "early"  #: a job ends and is called back ``seconds`` before its submission is answered
    # Callbacks
    DROP = "drop"  #: the callback is never sent
    DUPLICATE = "duplicate"  #: the callback is sent ``copies`` more times
    LATE = "late"  #: the callback is sent ``seconds`` later
    REORDER = "reorder"  #: the callback is held back until the next one to its queue, at most ``seconds``
    GARBLE = "garble"  #: the text of the callback is truncated to the fraction ``keep``


CALLBACK_KINDS = frozenset(
    {FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.LATE, FaultKind.REORDER, FaultKind.GARBLE}
)
#: Of the occasions of these kinds: a callback that is sent to a queue, and what a topic pushes.
CALLBACK_OPERATIONS = ("", PUSH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """An event that a fault may affect."""

    service: Literal["mns", "mps", "callback"]
    operation: str = ""
    queue: str = ""
    topic: str = ""
    function: str = ""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. The five patterns are shell patterns; ``*`` matches everything."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: FaultKind
    name: str = ""  #: its name in reports
    service: str = "*"  #: ``mns`` or ``mps``; callback faults need none
    operation: str = "*"  #: e.g. ``BatchReceiveMessage`` or ``*Receive*``
    queue: str = "*"
    topic: str = "*"  #: of MNS
    function: str = "*"
    probability: float = 1.0
    every: int = 1  #: only every n-th matching occasion
    skip: int = 0  #: ignore this many matching occasions first
    count: int | None = None  #: at most this many times
    start: float = 0.0  #: seconds after the fault was added
    stop: float | None = None  #: seconds after the fault was added
    seconds: float = 0.5
    status: int = 503
    body: Literal["xml", "html", "empty"] = "xml"
    keep: float = 0.5
    copies: int = 1
    after: bool = False  #: for latency, stall, reset and hang-up: execute the request first

    def __post_init__(self) -> None:
        checks = (
            ("probability", 0 <= self.probability <= 1, "from 0 to 1"),
            ("keep", 0 <= self.keep < 1, "from 0 to less than 1"),
            ("every", self.every >= 1, "at least 1"),
            ("skip", self.skip >= 0, "at least 0"),
            ("copies", 1 <= self.copies <= MAX_COPIES, f"from 1 to {MAX_COPIES}"),
            *(
                (key, _is_duration(getattr(self, key)), f"at most {MAX_SECONDS} either way")
                for key in DURATIONS
            ),
            *((key, getattr(self, key).isprintable(), "printable text") for key in TEXTS),
            ("status", 500 <= self.status <= 599 or self.status == 429, "429 or from 500 to 599"),
        )
        for key, right, rule in checks:
            if not right:
                raise FaultError(f"{key} = {getattr(self, key)!r}: must be {rule}")

    def affects(self, service: str) -> bool:
        if self.kind in CALLBACK_KINDS or service == "callback":
            return self.kind in CALLBACK_KINDS and service == "callback"
        return fnmatchcase(service, self.service)

    def matches(self, occasion: Occasion) -> bool:
        pairs = (
            (self.operation, occasion.operation),
            (self.queue, occasion.queue),
            (self.topic, occasion.topic),
            (self.function, occasion.function),
        )
        return self.affects(occasion.service) and all(fnmatchcase(value, pattern) for pattern, value in pairs)


def _is_duration(seconds: float | None) -> bool:
    """Also whether it is a number at all: JSON has NaN and Infinity, and a reply with them could not be written."""
    return seconds is None or abs(seconds) <= MAX_SECONDS


class Strike:
    """An active fault with its counters."""

    def __init__(self, fault: Fault, *, rng: Random, clock: VirtualClock) -> None:
        self.fault = fault
        self._clock = clock
        self.happened = 0  #: how often it took effect
        self._seen = self._picked = 0
        self._since = self._clock.now()
        self._rng = rng

    def picks(self, occasion: Occasion) -> bool:
        """Whether the fault applies to this occasion."""
        fault = self.fault
        if not fault.matches(occasion) or not self._in_time(self._clock.now()):
            return False
        self._seen += 1
        unlucky = self._rng.random() < fault.probability
        turn = self._seen > fault.skip and (self._seen - fault.skip) % fault.every == 0
        left = fault.count is None or self._picked < fault.count
        self._picked += unlucky and turn and left
        return unlucky and turn and left

    def report(self) -> dict[str, Any]:
        return {**asdict(self.fault), "seen": self._seen, "happened": self.happened}

    def _in_time(self, at: datetime) -> bool:
        stop = self.fault.stop
        age = at - self._since
        return age >= timedelta(seconds=self.fault.start) and (stop is None or age < timedelta(seconds=stop))


class Faults:
    """All active faults."""

    def __init__(self, *, seed: int | None, clock: VirtualClock) -> None:
        self._seed = seed
        self._clock = clock
        self._operations: Mapping[str, Collection[str]] = {}
        self._first: tuple[Fault, ...] = ()
        self._set: list[Strike] = []

    def start(self, faults: Iterable[Fault], *, operations: Mapping[str, Collection[str]]) -> None:
        """Add the initial faults. ``operations`` are those of each service, which faults may name.

        Raises FaultError.
        """
        self._operations = {**operations, "callback": CALLBACK_OPERATIONS}
        self._first = tuple(faults)
        self.reset()

    def add(self, faults: Iterable[Fault]) -> None:
        """Raises FaultError for a fault that cannot happen.

        Also if there would be too many, since each request is compared with all of them.
        """
        faults = list(faults)
        if len(self._set) + len(faults) > MAX_FAULTS:
            raise FaultError(f"at most {MAX_FAULTS} faults can be active at the same time")
        for number, fault in enumerate(faults, 1):
            if reason := self._reason_against(fault):
                raise FaultError(f"fault {number}: {reason}")
        for fault in faults:
            seed = None if self._seed is None else f"{self._seed}/{len(self._set)}"
            self._set.append(Strike(fault, rng=Random(seed), clock=self._clock))

    def _reason_against(self, fault: Fault) -> str:
        """Why a fault matches no occasion, whatever is requested; "" if it may match one."""
        services = [service for service in self._operations if fault.affects(service)]
        if not services:
            return f"service = {fault.service!r}: matches neither mns nor mps"
        known = sorted({name for service in services for name in self._operations[service]})
        if any(fnmatchcase(name, fault.operation) for name in known):
            return ""
        if services == ["callback"]:
            return f"operation = {fault.operation!r}: callbacks have none, and pushes of topics {PUSH!r}"
        near = get_close_matches(fault.operation, known, n=1)
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        return (
            f"operation = {fault.operation!r}: matches none of {' and '.join(services)}{guess}; "
            f"known: {', '.join(known)}"
        )

    def revived(self, fault: Fault) -> Strike:
        """The active fault that is equal to one of an earlier process, or that one, no longer counted."""
        known = (strike for strike in self._set if strike.fault == fault)
        return next(known, None) or Strike(fault, rng=Random(0), clock=self._clock)

    def clear(self) -> None:
        self._set.clear()

    def reset(self) -> None:
        """Restore the initial faults."""
        self.clear()
        self.add(self._first)

    def strikes(self, occasion: Occasion) -> dict[FaultKind, Strike]:
        """The faults that apply to this occasion, the first of each kind."""
        struck: dict[FaultKind, Strike] = {}
        for strike in self._set:
            if strike.picks(occasion):
                struck.setdefault(strike.fault.kind, strike)
        return struck

    def happened(self, kind: str) -> int:
        """How often faults of a kind took effect."""
        return sum(strike.happened for strike in self._set if strike.fault.kind == kind)

    def report(self) -> list[dict[str, Any]]:
        return [strike.report() for strike in self._set]


def parse(document: Any) -> list[Fault]:
    """Faults from plain values: one of them, a list, or ``{"fault": [...]}``. Raises FaultError."""
    if isinstance(document, Mapping) and "fault" in document:
        document = document["fault"]
    items = [document] if isinstance(document, Mapping) else document
    if not isinstance(items, list):
        raise FaultError("faults must be a list of tables, each with a kind")
    return list(_parsed(items))


def _parsed(items: list[Any]) -> Iterator[Fault]:
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(Fault)
    for number, item in enumerate(items, 1):
        try:
            yield adapter.validate_python(item)
        except ValidationError as error:
            raise FaultError(f"fault {number}: {_first_complaint(error.errors())}") from error


def _first_complaint(errors: list[Any]) -> str:
    """A key that does not exist first, since without it another one may be missing."""
    first = min(errors, key=lambda error: error["type"] != UNKNOWN_KEY)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == UNKNOWN_KEY:
        return f"{key!r} is not a key of a fault; use {', '.join(field.name for field in fields(Fault))}"
    if first["type"] == "missing":
        return f"{key} is missing"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{key} = {first['input']!r}: {reason}" if key else reason


def read(path: Path) -> list[Fault]:
    """Faults from a TOML file of ``[[fault]]`` tables, or a JSON file. Raises FaultError and OSError."""
    text = path.read_text("utf-8")
    try:
        return parse(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except ValueError as error:
        raise FaultError(f"{path}: {error}") from error
