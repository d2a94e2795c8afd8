"""What the daemon needs for each page and each list: ``python -m tests.benchmarks.pages [JOBS [REPETITIONS [PART]]]``.

It measures a store in which everything is done, and one in which much is open: see ``large_store`` and ``open_store``.
``PART``: only paths that contain this. CPU time is that of the process of the daemon, all threads, which does little
else meanwhile.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

import httpx

from tests.benchmarks.daemons import cpu_seconds, daemons, setting
from tests.benchmarks.places import BOUND, running_server
from tests.benchmarks.series import job_id
from tests.benchmarks.stores import LONG_JOB, large_store, open_store, url_of

#: The highest CPU time of a page, in milliseconds.
GOAL: Final = 100.0
#: Filters, each of which is measured alone: a value that nearly all rows have, and one that none has.
FILTERS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "function": ("VideoH2V", "none"),
        "kind": ("IProduction", "Transcode"),
        "route": ("videos", "none"),
        "reference": ("none", "none-*"),
        "queue": ("mps-callbacks", "none"),
        "result_state": ("Success", "Fail"),
        "since": ("100d", "0s"),
        "until": ("0s", "100d"),
    }
)
_TIMES: Final = ("queue", "since", "until")


@dataclass(frozen=True)
class Listed:
    """A list, the table of its rows, and queries that narrow it further."""

    path: str
    table: str
    own: Sequence[str] = ()
    filters: Sequence[str] = tuple(FILTERS)

    def paths(self, newest: Mapping[str, int]) -> Iterator[str]:
        middle = f"before={max(1, newest[self.table] // 2)}"
        for query in ("", *self.own):
            yield from (_joined(self.path, query, place) for place in ("", middle, "before=51"))
        for name in self.filters:
            narrowed = [urlencode({name: value}) for value in FILTERS[name]]
            yield from (_joined(self.path, query) for query in narrowed)
            yield _joined(self.path, narrowed[-1], middle)
        for query in self.own:
            yield from (
                _joined(self.path, query, urlencode({name: FILTERS[name][-1]})) for name in self.filters
            )


LISTS: Final = (
    Listed("/jobs", "jobs", own=("state=Success", "state=Fail")),
    Listed("/deliveries", "deliveries"),
    Listed("/dead-letters", "deliveries"),
    Listed("/parked", "results"),
    Listed("/quarantine", "quarantine", filters=_TIMES),
    Listed("/v1/jobs", "jobs", own=("state=Success", "state=Fail")),
    Listed("/v1/results", "results", own=("status=routed", "status=parked")),
    Listed("/v1/deliveries", "deliveries", own=("state=done", "state=pending", "state=dead")),
    Listed("/v1/dead-letters", "deliveries"),
    Listed("/v1/quarantine", "quarantine", filters=_TIMES),
)
#: Every other page, and every other answer that says how the store is.
OTHERS: Final = (
    "/",
    "/overview.json",
    "/routes",
    "/queues",
    "/settings",
    "/sign-in",
    "/jobs?name=none",
    "/jobs?name=a",
    f"/jobs?name={job_id('large', 7)}",
    f"/job?name={job_id('large', 7)}",
    f"/job?name={LONG_JOB}",
    "/v1",
    "/v1/routes",
    "/v1/queues",
    "/v1/settings",
    f"/v1/jobs/{job_id('large', 7)}",
    f"/v1/jobs/{job_id('large', 7)}/history",
    f"/v1/jobs/{LONG_JOB}/history",
    "/healthz",
    "/readyz",
    "/metrics",
)


@dataclass(frozen=True)
class Answer:
    """The medians of one path: milliseconds, and bytes of what is answered."""

    path: str
    status: int
    cpu: float
    wall: float
    size: int


def main(count: int = 1_000_000, repetitions: int = 5, part: str = "") -> None:
    for make in (large_store, open_store):
        path = make(count)
        print(f"\n{make.__name__}({count:_})\n{'CPU ms':>8} {'wall ms':>8} {'bytes':>9}")
        for answer in answers(path, repetitions, part):
            mark = "" if answer.cpu <= GOAL else f"  > {GOAL:.0f}"
            figures = f"{answer.cpu:8.1f} {answer.wall:8.1f} {answer.size:9}"
            print(f"{figures} {answer.status} {answer.path}{mark}", flush=True)


def answers(store: Path, repetitions: int, part: str = "") -> Iterator[Answer]:
    """Every path, of a daemon of its own."""
    newest = _newest(store)
    paths = [*OTHERS, *(path for each in LISTS for path in each.paths(newest))]
    with _serving(store) as (client, cpu):
        for path in (
            "/",
            "/jobs",
            "/v1/jobs",
        ):  # the first requests import and compile what later ones do not
            client.get(path)
        for path in dict.fromkeys(paths):
            if part in path:
                yield _measured(client, cpu, path, repetitions)


@contextmanager
def _serving(store: Path) -> Iterator[tuple[httpx.Client, Callable[[], float]]]:
    """A client of a daemon on this store, and the clock of the daemon's process."""
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        socket = Path(folder) / "http.sock"
        environment = setting(http__listen=f"unix:{socket}", store__retention="0s")
        with daemons(Path(folder), server, store=url_of(store), environment=environment) as (daemon,):
            daemon.ready()
            transport = httpx.HTTPTransport(uds=str(socket))
            with httpx.Client(transport=transport, base_url="http://localhost", timeout=BOUND) as client:
                yield client, lambda: cpu_seconds(daemon)


def _measured(client: httpx.Client, cpu: Callable[[], float], path: str, repetitions: int) -> Answer:
    cpu_times, wall_times = [], []
    for _ in range(repetitions):
        began, used = time.monotonic(), cpu()
        reply = client.get(path)
        cpu_times.append(1000 * (cpu() - used))
        wall_times.append(1000 * (time.monotonic() - began))
    return Answer(path, reply.status_code, median(cpu_times), median(wall_times), len(reply.content))


def _newest(store: Path) -> dict[str, int]:
    """The largest id of each table."""
    with closing(sqlite3.connect(store)) as connection:
        return {
            table: connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
            for table in ("jobs", "results", "deliveries", "quarantine")
        }


def _joined(path: str, *queries: str) -> str:
    query = "&".join(filter(None, queries))
    return f"{path}?{query}" if query else path


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given[:2]), *given[2:])
