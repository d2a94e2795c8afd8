"""``python -m tests.benchmarks.emulator [--quick] [--against CHECKOUT]``: what the emulator of MNS does and takes.

The client is as cheap as it can be: every request is signed once and sent again and again, replies are cut apart and
not parsed. So the figures are the emulator's, as far as two cores allow.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import click

from listener.core import clock
from listener.emulator import signatures
from tests.benchmarks.figures import Figure, Machine, as_json, interleaved, ratios, table
from tests.benchmarks.places import ENVIRONMENT, wait_for
from tests.support import ROOT

QUEUE: Final = "bench"
BATCH: Final = 16
CONNECTIONS: Final = 4
BODY: Final = "a small message"
#: Requests after which the emulator's log of requests is full.
WARM_UP: Final = 1_000
#: In these steps, in seconds, the kernel counts the CPU time of a process.
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    rounds: int = 5
    batches: int = 500  #: of 16 messages, on each connection
    singles: int = 1_000  #: messages, on each connection
    polls: int = 200
    parked_seconds: float = 20.0
    held: int = 100_000  #: messages in a queue


FULL: Final = Sizes()
QUICK: Final = Sizes(rounds=2, batches=100, singles=200, parked_seconds=3.0, held=32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An emulator that is measured."""

    pid: int
    port: int

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def emulator_of(checkout: Path) -> Iterator[Place]:
    """The emulator of a checkout, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mnsl-bench-") as folder:
        port_file = Path(folder, "port")
        options = ["--port", "0", "--port-file", str(port_file), "--queue", QUEUE]
        process = subprocess.Popen(
            [sys.executable, "-m", "listener", "emulator", *options],
            cwd=checkout,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(checkout)},
        )
        with process:
            try:
                wait_for(lambda: port_file.exists() and bool(port_file.read_text()), what="start", seconds=60)
                yield Place(pid=process.pid, port=int(port_file.read_text()))
            finally:
                process.terminate()


# The client


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is sent many times, with one body or with others of the same kind."""

    head: bytes  #: up to the value of Content-Length
    body: bytes = b""

    def bytes(self, body: bytes | None = None) -> bytes:
        content = self.body if body is None else body
        return b"%s%d\r\n\r\n%s" % (self.head, len(content), content)


def signed(method: str, target: str, body: str = "") -> Call:
    """Valid for a quarter of an hour."""
    headers = {"date": format_datetime(clock.now(), usegmt=True), "x-mns-version": "2015-06-06"}
    signature = signatures.mns_v2(
        "testKeySecret", method=method, headers=headers, target=target, date=headers["date"]
    )
    headers |= {"authorization": f"MNS testKeyId:{signature}", "host": "127.0.0.1"}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return Call("\r\n".join([*lines, "content-length: "]).encode(), body.encode())


LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
HANDLE = re.compile(rb"<ReceiptHandle>[^<]+</ReceiptHandle>")


class Connection:
    """One connection to the emulator."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def ask(self, request: bytes, status: bytes = b"200") -> bytes:
        """The body of the reply. Raises RuntimeError if its status is another one."""
        self._socket.sendall(request)
        head, _, body = self._read().partition(b"\r\n\r\n")
        if head[9:12] != status:
            raise RuntimeError(f"{head!r} {body!r}")
        length = LENGTH.search(head)
        while length and len(body) < int(length[1]):
            body += self._read()
        return body

    def _read(self) -> bytes:
        received = self._socket.recv(1 << 18)
        if not received:
            raise RuntimeError("the emulator has closed the connection")
        return received


def messages(path: str = QUEUE) -> str:
    return f"/queues/{path}/messages"


def batch_of(count: int) -> str:
    return f"<Messages>{f'<Message><MessageBody>{BODY}</MessageBody></Message>' * count}</Messages>"


@dataclass(frozen=True)
class Work:
    """What one connection does."""

    send: Call = field(default_factory=lambda: signed("POST", messages(), batch_of(BATCH)))
    receive: Call = field(default_factory=lambda: signed("GET", f"{messages()}?numOfMessages={BATCH}"))
    delete: Call = field(default_factory=lambda: signed("DELETE", messages()))

    def turn(self, connection: Connection, size: int) -> None:
        """Send, receive and delete ``size`` messages."""
        connection.ask(self.send.bytes(), b"201")
        handles = HANDLE.findall(connection.ask(self.receive.bytes()))
        if len(handles) != size:
            raise RuntimeError(f"{len(handles)} of {size} messages were received")
        wanted = b"<ReceiptHandles>%s</ReceiptHandles>" % b"".join(handles)
        connection.ask(self.delete.bytes(wanted), b"204")


def singly() -> Work:
    """One message at a time; deleted by a batch of one, since the handle in an address would need a new signature."""
    body = f"<Message><MessageBody>{BODY}</MessageBody></Message>"
    return Work(send=signed("POST", messages(), body), receive=signed("GET", messages()))


# What is measured


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second, and what one takes of the emulator's process."""

    messages: float
    microseconds: float


def rate(place: Place, work: Work, *, size: int, turns: int) -> Rate:
    """Messages that were sent, received and deleted, from four connections at the same time."""

    def run(connection: Connection) -> None:
        for _ in range(turns):
            work.turn(connection, size)

    with ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(place.port))) for _ in range(CONNECTIONS)]
        pool = stack.enter_context(ThreadPoolExecutor(CONNECTIONS))
        began, spent = clock.monotonic(), place.cpu_seconds
        list(pool.map(run, connections))
        count = CONNECTIONS * turns * size
        passed = clock.monotonic() - began
        taken = max(place.cpu_seconds - spent, TICK)
        return Rate(count / passed, taken / count * 1e6)


def rates(places: list[Place], sizes: Sizes) -> Iterator[Figure]:
    yield from _rates(
        places,
        lambda place: rate(place, Work(), size=BATCH, turns=sizes.batches),
        what="batches of 16",
        rounds=sizes.rounds,
        goal=25_000,
    )
    yield from _rates(
        places,
        lambda place: rate(place, singly(), size=1, turns=sizes.singles),
        what="one by one",
        rounds=sizes.rounds,
        goal=2_200,
    )


def _rates(
    places: list[Place], measure: Callable[[Place], Rate], *, what: str, rounds: int, goal: float
) -> Iterator[Figure]:
    for place in places:
        measure(place)  # warm-up
    found = interleaved(*((lambda _, place=place: measure(place)) for place in places), rounds=rounds)
    ours = [each[0] for each in found]
    yield Figure(name=f"{what}: messages", values=[each.messages for each in ours], unit="/s", at_least=goal)
    yield Figure(name=f"{what}: CPU of one", values=[each.microseconds for each in ours], unit=" µs")
    if len(places) > 1:
        cpu = ratios((each[0].microseconds, each[1].microseconds) for each in found)
        yield Figure(name=f"{what}: CPU, ours / theirs", values=cpu, unit=" x", at_most=1)


def receives(place: Place) -> int:
    """How many receives of one message the emulator has taken up."""
    with closing(Connection(place.port)) as connection:
        state = json.loads(connection.ask(b"GET /_emulator/state HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"))
        return int(state["requests"].get("ReceiveMessage", 0))


def parked(place: Place, sizes: Sizes) -> Iterator[Figure]:
    """Long polls that wait for messages which do not come."""
    request = signed("GET", f"{messages()}?waitseconds=30").bytes()
    with ExitStack() as stack:
        expected = receives(place) + sizes.polls
        for _ in range(sizes.polls):
            stack.enter_context(closing(Connection(place.port))).send(request)
        wait_for(lambda: receives(place) == expected, what="polls", seconds=60)
        began, spent = clock.monotonic(), place.cpu_seconds
        threading.Event().wait(sizes.parked_seconds)
        share = (place.cpu_seconds - spent) / (clock.monotonic() - began) * 100
    yield Figure(name=f"{sizes.polls} parked polls: CPU", values=[share], unit=" %", at_most=0.1)


def memory(place: Place, sizes: Sizes) -> Iterator[Figure]:
    """What a queue of small messages holds, and whether another one needs more once the first is deleted."""
    with closing(Connection(place.port)) as connection:
        # First, the emulator's log of requests is filled.
        _, before = filled(connection, place, WARM_UP * BATCH)
        full, left = filled(connection, place, sizes.held)
        again, _ = filled(connection, place, sizes.held)
    held = max(full - before, 1)
    yield Figure(name="memory: bytes held for a message", values=[held / sizes.held], at_most=600)
    yield Figure(
        name=f"memory: more for another queue of {sizes.held:,} messages after the first",
        values=[(again - full) / held * 100],
        unit=" %",
        at_most=20,
        note=f"{before / 1e6:.0f} MB before, {full / 1e6:.0f} MB with it, {left / 1e6:.0f} MB after its deletion",
    )


def filled(connection: Connection, place: Place, count: int) -> tuple[int, int]:
    """The memory with a queue of so many messages, and after its deletion."""
    connection.ask(signed("PUT", "/queues/held").bytes(), b"201")
    send = signed("POST", messages("held"), batch_of(BATCH)).bytes()
    for _ in range(count // BATCH):
        connection.ask(send, b"201")
    full = place.resident
    connection.ask(signed("DELETE", "/queues/held").bytes(), b"204")
    connection.ask(signed("GET", "/queues").bytes())  # answered once that is done
    return full, place.resident


def measured(places: list[Place], sizes: Sizes) -> Iterator[Figure]:
    """The figures of the first place, and how those of the second compare."""
    yield from memory(places[0], sizes)
    yield from rates(places, sizes)
    yield from parked(places[0], sizes)


@click.command()
@click.option("--quick", is_flag=True, help="Everything with small sizes, within half a minute.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout, which takes turns with this one.",
)
@click.option(
    "--json",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="bench-results-emulator.json",
)
def main(*, quick: bool, against: Path | None, path: Path) -> None:
    """Measure the emulator of MNS against its goals."""
    machine = Machine.this()
    with ExitStack() as stack:
        checkouts = [ROOT, *([against.resolve()] if against else [])]
        places = [stack.enter_context(emulator_of(checkout)) for checkout in checkouts]
        figures = list(measured(places, QUICK if quick else FULL))
    click.echo(f"{table(figures)}\n\n{machine}")
    path.write_text(as_json(figures, machine, skipped=[]), encoding="utf-8")


if __name__ == "__main__":
    main()
