"""How the daemon starts, stops and speaks to its supervisor."""

from __future__ import annotations

import json
import signal
import socket
import time

import httpx
import pytest

from listener.emulator import Fault, FaultKind
from tests.soak.job_outcomes import inject_faults
from tests.support.program import SECRET, Place, hang_in, unused_endpoint
from tests.support.waiting import has_line, is_dead, wait_until

pytestmark = pytest.mark.process

#: Far longer than a stop takes, far shorter than a poll of 30 s.
MOMENTS = 20.0


def test_ready_comes_also_while_the_queue_cannot_be_reached(place: Place) -> None:
    place.settings(endpoint=unused_endpoint())
    program = place.run().ready()

    wait_until(lambda: bool(program.logs("queue.unavailable")))
    assert "connection refused" in program.logs("queue.unavailable")[0]["error"]
    assert program.stop() == 0


@pytest.mark.fresh_interpreter
def test_sigterm_ends_a_parked_poll_within_moments(place: Place) -> None:
    place.settings()
    program = place.run().ready()
    wait_until(lambda: place.asked("BatchReceiveMessage") > 0)
    before = time.monotonic()

    assert program.stop() == 0
    assert time.monotonic() - before < MOMENTS
    assert "STOPPING=1" in program.ear.heard()
    assert program.logs()[-1] == {
        "event": "listener.stopped",
        "unfinished": 0,
        "level": "info",
        "timestamp": program.logs()[-1]["timestamp"],
    }


def test_a_delete_without_an_answer_holds_the_stop_up_no_longer_than_the_shutdown_timeout(
    place: Place,
) -> None:
    place.settings()
    inject_faults(place, Fault(kind=FaultKind.STALL, operation="BatchDeleteMessage"))
    program = place.run(service__shutdown_timeout="100ms").ready()
    place.send("job-1")
    wait_until(lambda: place.happened("stall") > 0)

    assert program.stop() == 0
    assert "StopTimedOut" not in program.stderr


@pytest.mark.fresh_interpreter
def test_second_signal_ends_at_once_while_a_handler_hangs(place: Place) -> None:
    started = hang_in(place)
    program = place.run(service__shutdown_timeout="25s").ready()
    place.send("job-1")
    wait_until(lambda: has_line(started))
    program.send(signal.SIGTERM)
    program.ear.wait_for("STOPPING=1")
    program.send(signal.SIGINT)

    assert program.wait(seconds=MOMENTS) == 1
    assert "second signal" in program.stderr


def test_handlers_may_finish_within_the_shutdown_timeout(place: Place) -> None:
    started = hang_in(place)
    program = place.run(service__shutdown_timeout="25s").ready()
    place.send("job-1")
    wait_until(lambda: has_line(started))
    program.send(signal.SIGTERM)
    program.ear.wait_for("STOPPING=1")
    (place.folder / "hang").unlink()

    assert program.wait(seconds=MOMENTS) == 0
    assert place.delivery_states() == {"done": 1}


def test_deliveries_cut_short_by_a_stop_are_pending_and_the_next_run_finishes_them(place: Place) -> None:
    started = hang_in(place)
    program = place.run(service__shutdown_timeout="100ms", dispatch__concurrency="2").ready()
    place.send("job-1", "job-2", "job-3")
    wait_until(lambda: started.exists() and len(started.read_text().splitlines()) == 2)

    assert program.stop() == 0
    assert program.logs("listener.stopped")[0]["unfinished"] == 2
    assert place.delivery_states() == {"pending": 3}

    (place.folder / "hang").unlink()
    assert place.run("--drain").wait() == 0
    assert place.delivery_states() == {"done": 3}
    with place.store() as store:
        assert not store.outstanding()
    history = place.queries(lambda queries: queries.history("job-1"))
    assert history is not None
    assert [one.failures for one in history.deliveries] == [0]


def test_a_command_is_ended_with_the_daemon(place: Place) -> None:
    pid_file = place.folder / "pid"
    script = f'["sh", "-c", "echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 300"]'
    place.settings(f'[[routes]]\nname = "all"\nhandlers = [{{{{ use = "command", argv = {script} }}}}]\n')
    program = place.run(service__shutdown_timeout="100ms").ready()
    place.send("job-1")
    wait_until(pid_file.exists)

    assert program.stop() == 0
    assert is_dead(int(pid_file.read_text()))
    assert place.delivery_states() == {"pending": 1}


@pytest.mark.fresh_interpreter
def test_systemd_hears_ready_once_then_the_watchdog_then_stopping(place: Place) -> None:
    place.settings()
    program = place.run(WATCHDOG_USEC="100000").ready()

    program.ear.wait_for("WATCHDOG=1", times=4)
    assert program.stop() == 0
    heard = program.ear.heard()
    assert (heard.count("READY=1"), heard.count("STOPPING=1")) == (1, 1)
    assert "WATCHDOG=1" in heard[heard.index("READY=1") : heard.index("STOPPING=1")]


def test_watchdog_of_another_process_is_not_fed(place: Place) -> None:
    place.settings()
    program = place.run(WATCHDOG_USEC="100000", WATCHDOG_PID="1").ready()

    assert program.stop() == 0
    assert "WATCHDOG=1" not in program.ear.heard()


def test_an_unreachable_supervisor_stops_nothing(place: Place) -> None:
    place.settings()
    place.send("job-1")
    program = place.run("--drain", NOTIFY_SOCKET="/nonexistent/notify")

    assert program.wait() == 0
    assert program.logs("systemd.notify_failed")
    assert place.delivery_states() == {"done": 1}


def test_logs_are_json_and_never_hold_the_secret(place: Place) -> None:
    started = hang_in(place)
    (place.folder / "hang").unlink()
    program = place.run(log__level="debug").ready()
    place.send("job-1")
    wait_until(lambda: started.exists() and place.delivery_states() == {"done": 1})

    assert program.stop() == 0
    events = [json.loads(line)["event"] for line in program.stderr.splitlines()]
    assert {"listener.started", "delivery.settled", "listener.stopped"} <= set(events)
    assert (SECRET in program.stderr, program.stdout) == (False, "")


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_health_is_answered_while_it_runs(place: Place, over: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)  # a relative path to the socket, since long ones do not fit
    with socket.socket(socket.AF_UNIX) as predecessor:  # which a crash has left behind
        predecessor.bind("health.sock")
    port = unused_endpoint().removeprefix("http://")
    place.settings()
    program = place.run(http__listen=port if over == "tcp" else "unix:health.sock").ready()
    transport = httpx.HTTPTransport(uds="health.sock" if over == "unix" else None)
    with httpx.Client(transport=transport, base_url=f"http://{port}", timeout=MOMENTS) as client:
        alive, ready = client.get("/healthz"), client.get("/readyz")
        metrics = client.get("/metrics")

    name = alive.json()["daemon"]
    assert (alive.status_code, alive.json()) == (200, {"ok": True, "daemon": name, "stalled": []})
    assert f":{program.process.pid}:" in name
    assert (ready.status_code, ready.json()["store"]) == (200, "ok")
    assert (metrics.status_code, "# TYPE" in metrics.text) == (200, True)
    assert program.stop() == 0


LOOKING = """\
import gc

def look(result):
    with open("frozen", "w") as file:
        file.write(f"{gc.get_freeze_count()}\\n")
"""
TO_LOOKING = """\
[[routes]]
name = "all"
handlers = [{{ use = "python", callable = "looking:look" }}]
"""


def test_the_garbage_collector_leaves_out_what_a_started_daemon_consists_of(place: Place) -> None:
    (place.folder / "looking.py").write_text(LOOKING)
    place.settings(TO_LOOKING)
    program = place.run().ready()
    place.send("job-1")
    frozen = place.folder / "frozen"
    wait_until(lambda: has_line(frozen))

    assert int(frozen.read_text()) > 50_000
    assert program.stop() == 0
