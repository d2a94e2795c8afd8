"""The poller can't hang: a network fault is reported with its kind, once, and its end is noticed soon.

One program consumes a dozen queues, each behind a gate with a fault of its own, so that all outages pass at the same
time; one more queue is well, and must not notice. Twins of the program lack a protection, and fail.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from listener.emulator import Emulator, Fault, FaultKind, Options
from listener.emulator.mns.queue import Attributes, draft
from listener.emulator.server import RunningEmulator, running
from tests.support import gate as gates
from tests.support.builders import a_callback, wrapped
from tests.support.cases import each_case
from tests.support.gate import Gate, certificate, gate, server_tls
from tests.support.program import Place, Program
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

#: How soon after a fault's end polling goes on.
RECOVERY = 10.0
WELL, DNS, CLOCK, UNTRUSTED = "well", "dns", "clock", "untrusted"
#: The queues with the modes of their gates; those in TLS are behind https.
MODES: Mapping[str, str] = {
    "silent": gates.SILENT,
    "silent-https": gates.SILENT,
    "half-open": gates.SWALLOW,
    "half-open-https": gates.SWALLOW,
    "trickle": gates.TRICKLE,
    "trickle-https": gates.TRICKLE,
    "cut": gates.CUT,
    "cut-https": gates.CUT,
    "reset": gates.RESET,
    "html": gates.HTML,
    "unavailable": gates.UNAVAILABLE,
    "throttled": gates.THROTTLED,
    CLOCK: gates.PASS,  # the emulator's own fault
    UNTRUSTED: gates.PASS,  # another certificate
}
#: What each of them must be called in the log.
CALLED: Mapping[str, str] = {
    "silent": "timeout",
    "silent-https": "timeout",
    "half-open": "timeout",
    "half-open-https": "timeout",
    "trickle": "timeout",
    "trickle-https": "timeout",
    "cut": "connection",
    "cut-https": "connection",
    "reset": "connection",
    "html": "protocol",
    "unavailable": "server",
    "throttled": "throttled",
    CLOCK: "clock",
    UNTRUSTED: "tls",
    DNS: "dns",
}
#: Those in which nothing ever happens unless somebody sets a limit.
HANGING = [name for name, mode in MODES.items() if mode in (gates.SILENT, gates.SWALLOW, gates.TRICKLE)]
SECONDS_OFF = 20 * 60

SETTINGS = """\
[store]
url = "sqlite:///{folder}/listener.db"
[correlation]
wait = "0s"
[http]
listen = ""
[[routes]]
name = "all"
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
QUEUE = """\
[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"
wait = "1s"
"""


@dataclass
class Network:
    """The program and everything between it and the emulator."""

    place: Place
    program: Program
    gates: dict[str, Gate]
    untrusted: Any
    trusted: Any
    recovered: dict[str, float] = field(default_factory=dict)  #: seconds from the end of the fault

    def break_all(self) -> None:
        for name, mode in MODES.items():
            self.gates[name].mode = mode
        self.gates[UNTRUSTED].tls = self.untrusted
        self._let_clock(SECONDS_OFF)
        _hang_up(self.gates[UNTRUSTED])

    def clear_faults(self) -> None:
        for each in self.gates.values():
            each.mode = gates.PASS
        self.gates[UNTRUSTED].tls = self.trusted
        self.place.server.call(lambda emulator: emulator.faults.clear())

    def watch_recovery(self, names: Sequence[str]) -> None:
        """Send a callback to each queue, and note when it is handled; gives up a little after the limit."""
        started, pending, pause = time.monotonic(), set(names), threading.Event()
        self._send(names)
        while pending and time.monotonic() - started < RECOVERY + 2:
            heard = {line["queue"] for line in self.place.lines()} & pending
            self.recovered |= {name: time.monotonic() - started for name in heard}
            pending -= heard
            pause.wait(0.05)

    def warnings(self, queue: str) -> list[dict[str, Any]]:
        return [line for line in self.program.logs("queue.unavailable") if line["queue"] == queue]

    def met(self, queue: str) -> int:
        """How many requests have run into a queue's fault."""
        if queue == CLOCK:
            return self.place.server.call(lambda emulator: emulator.faults.happened(FaultKind.CLOCK_SKEW))
        return self.gates[queue].requests["tls" if queue == UNTRUSTED else MODES[queue]]

    def _send(self, names: Sequence[str]) -> None:
        def send(emulator: Emulator) -> None:
            for name in names:
                emulator.mns.queues[name].send([draft(wrapped(a_callback(JobId=f"after-{name}")))])

        self.place.server.call(send)

    def _let_clock(self, seconds: float) -> None:
        fault = Fault(kind=FaultKind.CLOCK_SKEW, queue=CLOCK, seconds=seconds)
        self.place.server.call(lambda emulator: emulator.faults.add([fault]))


def _hang_up(opened: Gate) -> None:
    """A certificate is only looked at when a connection begins."""
    opened.mode = gates.RESET
    wait_until(lambda: opened.requests[gates.RESET] > 0)
    opened.mode = gates.PASS


@contextmanager
def network(folder: Path, *, without: Sequence[str] = ()) -> Iterator[Network]:
    """A program that has polled every queue once, with all gates open."""
    with ExitStack() as stack:
        server = stack.enter_context(running(Options(queues=(WELL, DNS))))
        good, bad = (server_tls(certificate(folder, name)) for name in ("trusted", "other"))
        opened = {
            name: stack.enter_context(gate(server.port, tls=good if _over_tls(name) else None))
            for name in MODES
        }
        place = Place(folder, server)
        stack.callback(place.close)
        _write_settings(place, opened, without)
        program = place.run(SSL_CERT_FILE=str(folder / "trusted.pem"))
        wait_until(lambda: all(each.requests[gates.PASS] > 1 for each in opened.values()))
        yield Network(place, program, opened, untrusted=bad, trusted=good)


def _over_tls(name: str) -> bool:
    return name.endswith("https") or name == UNTRUSTED


def _write_settings(place: Place, opened: Mapping[str, Gate], without: Sequence[str]) -> None:
    endpoints = {name: each.url for name, each in opened.items()}
    endpoints |= {WELL: place.server.url, DNS: "http://nohost.invalid"}
    text = SETTINGS.format(folder=place.folder)
    text += "".join(QUEUE.format(endpoint=endpoint, queue=name) for name, endpoint in endpoints.items())
    (place.folder / "listener.toml").write_text(text)
    place.server.call(lambda emulator: _create(emulator, list(opened)))
    _sabotage(place.folder, without)


def _create(emulator: Emulator, names: Sequence[str]) -> None:
    for name in names:
        emulator.mns.create(name, Attributes(visibility_timeout=1))


def outage(folder: Path) -> Network:
    """Every fault happens at least twice, is reported, and ends."""
    with network(folder) as everything:
        everything.break_all()
        wait_until(lambda: all(everything.met(name) >= 2 for name in MODES))
        wait_until(lambda: all(everything.warnings(name) for name in CALLED))
        everything.clear_faults()
        everything.watch_recovery([*MODES, WELL])
    return everything


def outage_without_deadlines(folder: Path) -> Network:
    with network(folder, without=["deadline", "log-throttle"]) as twin:
        twin.break_all()
        wait_until(lambda: len(twin.warnings("html")) > 3)
        twin.clear_faults()
        twin.watch_recovery(HANGING)
    return twin


def outage_without_short_pauses(folder: Path) -> Network:
    with network(folder, without=["short-pauses"]) as twin:
        twin.break_all()
        wait_until(lambda: bool(twin.warnings("html")))
        twin.clear_faults()
        twin.watch_recovery(["html"])
    return twin


Outages = Mapping[Callable[[Path], Network], Future[Network]]


@pytest.fixture(scope="module")
def outages(tmp_path_factory: pytest.TempPathFactory) -> Outages:
    """All at the same time, since they mostly wait."""
    with ThreadPoolExecutor(3) as pool:
        return {
            each: pool.submit(each, tmp_path_factory.mktemp(each.__name__))
            for each in (outage, outage_without_deadlines, outage_without_short_pauses)
        }


@pytest.fixture
def after_outage(outages: Outages) -> Network:
    return outages[outage].result()


@pytest.mark.parametrize("queue", CALLED)
def test_a_fault_is_reported_with_its_kind(after_outage: Network, queue: str) -> None:
    assert {line["kind"] for line in after_outage.warnings(queue)} == {CALLED[queue]}


@each_case("queue", CALLED)
def test_a_fault_is_logged_once_a_minute(after_outage: Network, queue: str) -> None:
    assert len(after_outage.warnings(queue)) == 1


@each_case("queue", MODES)
def test_polling_goes_on_soon_after_the_end_of_a_fault(after_outage: Network, queue: str) -> None:
    def is_reported() -> bool:
        return any(line["queue"] == queue for line in after_outage.program.logs("queue.recovered"))

    assert after_outage.recovered[queue] < RECOVERY
    wait_until(is_reported)  # a handler may have been called before the poller logs it


def test_a_wrong_clock_is_reported_with_its_offset(after_outage: Network) -> None:
    (warning,) = after_outage.warnings(CLOCK)
    seconds = re.search(r"this clock is (\d+) s behind", warning["error"])
    assert seconds
    assert abs(int(seconds[1]) - SECONDS_OFF) <= 5


def test_one_queue_does_not_notice_the_others_faults(after_outage: Network) -> None:
    assert after_outage.warnings(WELL) == []
    assert after_outage.recovered[WELL] < RECOVERY / 2


def test_without_deadlines_the_poller_hangs_and_without_throttling_it_floods_the_log(
    outages: Outages,
) -> None:
    twin = outages[outage_without_deadlines].result()
    assert len(twin.warnings("html")) > 3
    assert (twin.recovered, [twin.warnings(name) for name in HANGING]) == ({}, [[]] * len(HANGING))


def test_without_a_limit_on_pauses_the_end_of_a_fault_goes_unnoticed(outages: Outages) -> None:
    assert outages[outage_without_short_pauses].result().recovered == {}


IDLE = """\
[store]
url = "sqlite:///{folder}/listener.db"
[http]
listen = ""
[[queues]]
endpoint = "{endpoint}"
queue = "idle"
wait = "1s"
[[routes]]
name = "all"
handlers = [{{ use = "log" }}]
"""


def seconds_for_three_polls(folder: Path, *, early: bool, without: Sequence[str] = ()) -> float:
    """How long three polls of an empty queue take; ``early`` lets the server answer them at once."""
    with running(Options(queues=("idle",))) as server:
        place = Place(folder, server)
        if early:
            server.call(lambda emulator: emulator.faults.add([Fault(kind=FaultKind.EMPTY_POLL)]))
        (folder / "listener.toml").write_text(IDLE.format(folder=folder, endpoint=server.url))
        _sabotage(folder, without)
        try:
            place.run()
            return _three_polls(server)
        finally:
            place.close()


def _sabotage(folder: Path, without: Sequence[str]) -> None:
    names = ", ".join(map(repr, without))
    text = f"from tests.support.unprotected import take_away\ntake_away({names})\n"
    (folder / "sitecustomize.py").write_text(text)


def _three_polls(server: RunningEmulator) -> float:
    def polls() -> int:
        return server.call(lambda emulator: emulator.requests["BatchReceiveMessage"])

    wait_until(lambda: polls() >= 1)
    before, started = polls(), time.monotonic()
    wait_until(lambda: polls() >= before + 3)
    return time.monotonic() - started


def test_an_idle_queue_is_asked_once_per_wait(tmp_path: Path) -> None:
    assert 1.9 < seconds_for_three_polls(tmp_path, early=False) < 8


def test_polls_that_are_answered_too_early_do_not_make_it_spin(tmp_path: Path) -> None:
    assert 1.9 < seconds_for_three_polls(tmp_path, early=True) < 8


def test_without_a_rest_it_would_spin(tmp_path: Path) -> None:
    assert seconds_for_three_polls(tmp_path, early=True, without=["rest"]) < 1.9
