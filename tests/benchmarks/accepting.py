"""``python -m tests.benchmarks.accepting [--against CHECKOUT]``: what it costs to accept jobs over the API one by one.

The daemon submits what it accepts to an emulator, within ``mps.rate_limit``. Its CPU time is that of its process; the
client and the emulator have processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from listener.core import clock
from tests.benchmarks.daemons import cpu_seconds
from tests.benchmarks.emulator import Connection, emulator_of
from tests.benchmarks.figures import Figure, Machine, as_json, interleaved, percentile, ratios, table
from tests.benchmarks.places import ENVIRONMENT
from tests.benchmarks.submitter import Order
from tests.support import ROOT
from tests.support.program import Program

SETTINGS: Final = """\
[store]
url = "sqlite:///{folder}/listener.db"

[http]
listen = "unix:{folder}/http.sock"

[mps]
endpoint = "{endpoint}"
notify_url = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/bench"
rate_limit = {rate_limit}

[[queues]]
endpoint = "{endpoint}"
queue = "bench"

[[routes]]
name = "covers"
handlers = [{{ use = "python", callable = "builtins:id" }}]
"""
#: Calls of MPS per second: so few that they cost nothing, and what is the default.
HARDLY_ANY: Final = 0.01
DEFAULT_RATE: Final = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    rounds: int = 5
    count: int = 3_000  #: jobs of a round
    seconds: int = 10  #: for how long 1,000 a second are sent


FULL: Final = Sizes()
QUICK: Final = Sizes(rounds=2, count=500, seconds=2)


@dataclass(frozen=True, slots=True)
class Place:
    """A daemon that accepts jobs."""

    program: Program
    socket: str
    emulator: int  #: its port

    def calls(self) -> list[datetime]:
        """When MPS was called to submit a job; the last 1,000 requests of any kind are known."""
        request = b"GET /_emulator/requests?operation=Submit* HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        with closing(Connection(self.emulator)) as connection:
            return [datetime.fromisoformat(each["at"]) for each in json.loads(connection.ask(request))]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What so many jobs took."""

    latencies: list[float]
    seconds: float
    cpu: float

    @property
    def cpu_each(self) -> float:
        return self.cpu / len(self.latencies) * 1e6


@contextmanager
def daemon_of(checkout: Path, *, rate_limit: float) -> Iterator[Place]:
    """The daemon of a checkout with an emulator of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mnsl-bench-")))
        port = stack.enter_context(emulator_of(ROOT)).port
        endpoint = f"http://127.0.0.1:{port}"
        path = folder / "listener.toml"
        path.write_text(
            SETTINGS.format(folder=folder, endpoint=endpoint, rate_limit=rate_limit), encoding="utf-8"
        )
        environment = {**ENVIRONMENT, "PYTHONPATH": str(checkout)}
        program = Program("run", "-c", str(path), folder=folder, environment=environment, fresh=True)
        stack.callback(program.close)
        program.ear.wait_for("READY=1")
        yield Place(program, f"{folder}/http.sock", port)


def accept(place: Place, *, count: int, connections: int, rate: float = 0.0, keyed: bool = False) -> Accepted:
    order = Order(socket=place.socket, count=count, connections=connections, rate=rate, keyed=keyed)
    spent, began = cpu_seconds(place.program), clock.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.submitter"],
        input=order.text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    passed, taken = clock.monotonic() - began, cpu_seconds(place.program) - spent
    return Accepted(json.loads(done.stdout), passed, taken)


def costs(checkouts: list[Path], sizes: Sizes) -> Iterator[Figure]:
    """The CPU time of a job that is accepted, while hardly any is submitted.

    Each number of connections has daemons of its own: one accepts only so many jobs that wait.
    """
    for connections in (1, 16, 64):
        with ExitStack() as stack:
            places = [stack.enter_context(daemon_of(each, rate_limit=HARDLY_ANY)) for each in checkouts]
            yield from costs_of(places, connections, sizes)


def costs_of(places: list[Place], connections: int, sizes: Sizes) -> Iterator[Figure]:
    for keyed in (False, True):
        what = f"{connections} connections, {'with' if keyed else 'without'} Idempotency-Key"
        sides: list[Callable[[int], Accepted]] = [
            lambda _, place=place, n=connections, keyed=keyed: accept(  # type: ignore[misc] # a default for each name
                place, count=sizes.count, connections=n, keyed=keyed
            )
            for place in places
        ]
        for side in sides:
            side(0)  # warm-up
        found = interleaved(*sides, rounds=sizes.rounds)
        yield Figure(name=f"{what}: CPU", values=[each[0].cpu_each for each in found], unit=" µs")
        if len(places) > 1:
            values = ratios((each[0].cpu_each, each[1].cpu_each) for each in found)
            yield Figure(name=f"{what}: CPU, ours / theirs", values=values, unit=" x")


def thousand(place: Place, sizes: Sizes) -> Iterator[Figure]:
    """1,000 a second, while others are submitted."""
    for keyed in (False, True):
        what = f"1,000/s, {'with' if keyed else 'without'} Idempotency-Key"
        accept(place, count=500, connections=64)  # warm-up
        done = accept(place, count=1000 * sizes.seconds, connections=64, rate=1000, keyed=keyed)
        calls = place.calls()
        yield Figure(name=f"{what}: CPU of a core", values=[done.cpu / done.seconds * 100], unit=" %")
        for percent in (50, 99):
            value = percentile(done.latencies, percent) * 1000
            yield Figure(name=f"{what}: latency, p{percent}", values=[value], unit=" ms")
        yield Figure(name=f"{what}: largest latency", values=[max(done.latencies) * 1000], unit=" ms")
        yield Figure(name=f"{what}: most calls of MPS in a second", values=[most(calls)], at_most=91)
        rate = (len(calls) - 1) / (calls[-1] - calls[0]).total_seconds()
        yield Figure(name=f"{what}: calls of MPS", values=[rate], unit="/s", note=f"the last {len(calls)}")


def most(calls: list[datetime]) -> int:
    """In any second."""
    return max(
        sum(0 <= (other - each).total_seconds() < 1 for other in calls[number:])
        for number, each in enumerate(calls)
    )


@click.command()
@click.option("--quick", is_flag=True, help="Everything with small sizes.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout, which takes turns with this one.",
)
@click.option(
    "--json", "path", type=click.Path(dir_okay=False, path_type=Path), default="bench-results-accepting.json"
)
def main(*, quick: bool, against: Path | None, path: Path) -> None:
    """Measure how jobs are accepted."""
    machine, sizes = Machine.this(), QUICK if quick else FULL
    checkouts = [ROOT, *([against.resolve()] if against else [])]
    figures = list(costs(checkouts, sizes))
    with daemon_of(ROOT, rate_limit=DEFAULT_RATE) as place:
        figures += thousand(place, sizes)
    click.echo(f"{table(figures)}\n\n{machine}")
    path.write_text(as_json(figures, machine, skipped=[]), encoding="utf-8")


if __name__ == "__main__":
    main()
