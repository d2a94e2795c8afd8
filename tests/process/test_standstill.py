"""A store that stands still: locked by another program, or on a server whose processes are all stopped.

Nothing fails then, and nothing answers. Supervisors must not restart the program, probes are answered, a stop ends, and
afterwards everything is handled once.
"""

from __future__ import annotations

import resource
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from listener.emulator import Options
from listener.emulator.mns.queue import Attributes
from listener.emulator.server import running
from listener.runtime.liveness import IDLE_BEAT
from listener.store.sql_store import SqlStore
from tests.support.postgres import PostgresServer
from tests.support.program import QUEUE, Place, Program, hang_in
from tests.support.waiting import has_line, wait_until

pytestmark = pytest.mark.process

#: How long a loop that does not wait for the store may be silent, idle ones included; a standstill lasts longer.
STALLED_AFTER = 2 * IDLE_BEAT.total_seconds()
STALLS_SOON = f"""\
from datetime import timedelta
import listener.daemon.wiring as wiring
wiring.STORE_LOOP_STALLED_AFTER = timedelta(seconds={STALLED_AFTER})
"""
WAITING_IS_A_STALL = """\
from listener.runtime.liveness import Heartbeat
Heartbeat.wait_until = lambda heartbeat, limit: None
"""
#: Far longer than an answer from memory takes on a busy machine, far shorter than a call of the store.
PROMPT = 20.0
#: What a stop may take beyond the shutdown timeout, and what a busy machine adds.
STOP_MARGIN, SLACK = 12.0, 10.0


@dataclass
class Standstill(Place):
    """A place whose store the test can make stand still."""

    url: str = ""
    still: Callable[[], AbstractContextManager[None]] = nullcontext

    @contextmanager
    def store(self) -> Iterator[SqlStore]:
        with closing(SqlStore.open(self.url)) as store:
            yield store

    def probed(self, **settings: str) -> Program:
        """A program that answers health checks."""
        defaults = {
            "store__url": self.url,
            "http__listen": "unix:http.sock",
            "dispatch__lease": "3s",
            "routes__0__enrich": "false",
        }
        return self.run(**(defaults | settings)).ready()

    def get(self, path: str) -> httpx.Response:
        # Quick: no certificates.
        transport = httpx.HTTPTransport(uds=str(self.folder / "http.sock"), verify=False)
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=PROMPT) as client:
            return client.get(path)

    def is_unready(self) -> bool:
        """Whether it has said so; on a busy machine the answer may be late, which other tests are about."""
        try:
            return self.get("/readyz").status_code == 503
        except httpx.TimeoutException:
            return False

    def sitecustomize(self, text: str) -> None:
        """Have every program execute this first."""
        (self.folder / "sitecustomize.py").write_text(text)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture(scope="module")
def freezable() -> Iterator[PostgresServer]:
    """A server that only these tests use."""
    server = PostgresServer().start()
    yield server
    server.remove()


BACKENDS = [
    pytest.param("sqlite", id="sqlite-locked"),
    pytest.param("postgresql", id="postgresql-frozen", marks=pytest.mark.xdist_group("freezable")),
]


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Standstill]:
    if request.param == "sqlite":
        path = tmp_path / "listener.db"
        backend: dict[str, Any] = {"url": f"sqlite:///{path}", "still": lambda: locked(path)}
    else:
        freezable: PostgresServer = request.getfixturevalue("freezable")
        backend = {"url": freezable.new_store(), "still": freezable.frozen}
    with running(Options()) as server:
        server.call(lambda emulator: emulator.mns.create(QUEUE, Attributes(visibility_timeout=1)))
        here = Standstill(tmp_path, server, **backend)
        here.settings()
        try:
            yield here
        finally:
            here.close()


def jobs(count: int) -> list[str]:
    return [f"job-{number}" for number in range(count)]


def handled_once(place: Standstill, count: int) -> bool:
    return Counter(line["job_id"] for line in place.lines()) == Counter(jobs(count))


@pytest.mark.long
def test_waiting_for_the_store_is_reported_and_is_no_reason_to_restart(place: Standstill) -> None:
    """The calls wait for longer than a loop may be silent."""
    place.sitecustomize(STALLS_SOON)
    program = place.probed(WATCHDOG_USEC="200000")
    with place.still():
        place.send(*jobs(30))
        wait_until(lambda: heard_and_store_state(place, program) != "ok")
        reported, until = place.get("/readyz"), time.monotonic() + 1.5 * STALLED_AFTER
        while time.monotonic() < until:
            assert place.get("/healthz").json()["stalled"] == []
            assert place.get("/metrics").status_code == 200
            program.ear.wait_for("WATCHDOG=1", times=program.ear.heard().count("WATCHDOG=1") + 1)

    assert (reported.status_code, "the store has not answered for" in reported.text) == (503, True)
    wait_until(lambda: heard_and_store_state(place, program) == "ok" and handled_once(place, 30))
    assert program.stop() == 0
    assert handled_once(place, 30)
    assert (program.logs("loops.stalled"), len(program.logs("store.recovered"))) == ([], 1)


def heard_and_store_state(place: Standstill, program: Program) -> str:
    """The store's state in /readyz; what the program sends to the supervisor is read, too, as a supervisor does."""
    program.ear.heard()
    return str(place.get("/readyz").json()["store"])


@pytest.mark.long
def test_without_knowing_what_waits_for_the_store_a_healthy_program_would_be_restarted(
    place: Standstill,
) -> None:
    place.sitecustomize(STALLS_SOON + WAITING_IS_A_STALL)
    program = place.probed()
    with place.still():
        place.send(*jobs(30))
        wait_until(lambda: place.get("/healthz").status_code == 503)
        wait_until(lambda: bool(program.logs("loops.stalled")))
    wait_until(lambda: handled_once(place, 30))


def test_calls_end_after_their_timeout_and_an_outage_is_logged_and_counted_as_the_stores(
    place: Standstill,
) -> None:
    program = place.probed(store__timeout="1s")
    with place.still():
        place.send(*jobs(30))
        wait_until(lambda: len(failures(place)) > 0)
        wait_until(lambda: place.get("/readyz").status_code == 503)
        ready = place.get("/readyz").json()
        assert place.get("/healthz").status_code == 200

    assert (ready["store"] != "ok", set(ready["queues"].values())) == (True, {"ok"})
    wait_until(lambda: handled_once(place, 30))
    wait_until(lambda: place.get("/readyz").json()["store"] == "ok")
    assert program.stop() == 0
    assert handled_once(place, 30)
    kinds = [line["kind"] for line in program.logs("store.unavailable")]
    assert set(kinds) <= {"timeout", "locked"}
    assert len(kinds) == len(set(kinds)), "more than one warning per minute"
    assert (program.logs("queue.unavailable"), program.logs("queue.recovered")) == ([], [])
    assert program.logs("store.recovered")


def failures(place: Standstill) -> list[str]:
    """The kinds of failures of the store that were counted, as lines of the metrics."""
    lines = place.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("mns_listener_store_failures_total{")]
    return [line for line in counted if not line.endswith(" 0.0")]


@pytest.mark.parametrize("timeout", ["1s", "30s"])
def test_a_stop_ends_while_the_store_stands_still(place: Standstill, timeout: str) -> None:
    program = place.probed(service__shutdown_timeout="1s", store__timeout=timeout)
    with place.still():
        place.send(*jobs(30))
        wait_until(place.is_unready)
        before = time.monotonic()
        program.send(signal.SIGTERM)
        status = program.wait()
        took = time.monotonic() - before

    assert took < 1 + STOP_MARGIN + SLACK
    hung = program.logs("stop.timed_out")
    assert status == (75 if hung else 0)
    again = place.probed()
    wait_until(lambda: handled_once(place, 30))
    assert again.stop() == 0
    assert handled_once(place, 30)


def test_a_drain_notices_a_signal_while_the_store_stands_still(place: Standstill) -> None:
    """It asks the store again and again whether anything is left to do, and must not wait for the answer."""
    started = hang_in(place)
    place.send("job-0")
    program = place.run("--drain", store__url=place.url, store__timeout="10m", http__listen="unix:http.sock")
    wait_until(lambda: has_line(started))
    with place.still():
        wait_until(lambda: place.get("/readyz").status_code == 503)
        program.send(signal.SIGTERM)

        program.ear.wait_for("STOPPING=1")


def test_a_full_disk_stays_reported_until_something_could_be_written(tmp_path: Path) -> None:
    with running(Options()) as server:
        server.call(lambda emulator: emulator.mns.create(QUEUE, Attributes(visibility_timeout=1)))
        place = Standstill(tmp_path, server, url=f"sqlite:///{tmp_path}/listener.db")
        place.settings()
        try:
            program = place.probed()
            with no_room(program.process.pid):
                place.send(*jobs(30))
                wait_until(lambda: place.get("/readyz").status_code == 503)
                polls = place.asked("BatchReceiveMessage")
                wait_until(lambda: place.asked("BatchReceiveMessage") > polls + 2)
                ready = place.get("/readyz").json()
                assert "mns_listener_ready 0.0" in place.get("/metrics").text
                assert program.logs("store.recovered") == []
            wait_until(lambda: handled_once(place, 30))
            wait_until(lambda: place.get("/readyz").status_code == 200)
            assert any('kind="disk-full"' in line for line in failures(place))
        finally:
            place.close()
    assert ("disk" in ready["store"], ready["queues"]) == (True, {QUEUE: "ok"})


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """As on a full disk, no file of the process may grow."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
