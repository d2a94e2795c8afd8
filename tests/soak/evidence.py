"""What is known after a run: the handlers' own lines, what was done to the processes, and the rows of the store.

The store is read without the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from listener.dispatch.dispatcher import EXPIRED

Row = Mapping[str, Any]

#: The process ID of a call whose process is not known: its receiver cannot tell.
ANY_PROCESS: Final = 0
#: The process ID of what was done to the store.
STORE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a handler, as the handler itself logged it. Times are those of the machine's monotonic clock."""

    n: int
    key: str
    attempt: int
    pid: int
    job: str
    state: str
    route: str
    handler: str
    begun: float
    ended: float | None = None
    how: str = ""  #: returned or raised; empty if it never ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Something that was done to a process or to the store, from the moment it was asked for until it was over."""

    pid: int
    kind: str  #: kill, stop, freeze, hup, or what was done to the store
    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The store's tables."""

    jobs: Sequence[Row]
    results: Sequence[Row]
    deliveries: Sequence[Row]
    quarantine: Sequence[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    calls: Sequence[Call]
    endings: Sequence[Ending]
    rows: Rows
    effects: int  #: how many effects the handler that uses the key has had
    left_in_queues: int
    #: When the job of an early callback had been registered, by item, in microseconds of the wall clock.
    registered: Mapping[int, int] = field(default_factory=dict)
    #: Keys and attempts that processes gave back, since their leases had expired before the handlers were called.
    given_back: Set[tuple[str, int]] = frozenset()
    slowness: float = 1.0  #: by which the machine was busier than one that does nothing else
    #: What went wrong with the run itself, such as a process that ended by itself.
    troubles: Sequence[str] = ()


def calls_in(folder: Path) -> Sequence[Call]:
    """The calls logged in all files of a folder, in the order of their beginnings."""
    files = sorted(folder.glob("*.jsonl"))
    return calls_of(json.loads(line) for file in files for line in _whole_lines(file.read_bytes()))


def _whole_lines(written: bytes) -> Sequence[bytes]:
    """Without an incomplete last line, which a process was writing when it was killed."""
    return written.split(b"\n")[:-1]


def given_back_in(folder: Path) -> Set[tuple[str, int]]:
    """By the logs of all processes, apart from those that went to a pipe."""
    logs = [path.read_bytes() for path in folder.glob("log-*.jsonl") if path.is_file()]
    lines = [json.loads(line) for log in logs for line in _whole_lines(log) if EXPIRED.encode() in line]
    return {(line["key"], line["attempt"]) for line in lines if line.get("reason") == EXPIRED}


def calls_of(lines: Iterable[Mapping[str, Any]]) -> Sequence[Call]:
    """Beginnings joined with their ends. Two that begin with the same words are two calls."""
    begun: dict[tuple[str, int, int], list[Mapping[str, Any]]] = {}
    calls: list[Call] = []
    for line in lines:
        mark = (line["key"], line["attempt"], line["pid"])
        if line["what"] == "begin":
            begun.setdefault(mark, []).append(line)
        elif begun.get(mark):
            calls.append(_call(begun[mark].pop(0), line))
        else:
            raise ValueError(f"an end without a beginning: {line}")
    calls += [_call(line, None) for open_ones in begun.values() for line in open_ones]
    return sorted(calls, key=lambda call: call.begun)


def _call(begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Call:
    return Call(
        begun=begin["at"],
        ended=end["at"] if end else None,
        how=end["what"] if end else "",
        **{name: begin[name] for name in ("n", "key", "attempt", "pid", "job", "state", "route", "handler")},
    )


def rows_from(select: Callable[[str], Iterable[Row]]) -> Rows:
    """The rows that a function reads from each table by its name."""
    return Rows(**{name: list(select(name)) for name in ("jobs", "results", "deliveries", "quarantine")})
