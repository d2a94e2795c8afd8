"""Output that cannot be written, or that is never read, stops nothing: the log is not worth a delivery."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.program import BOUND, Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

JOBS = [f"job-{number}" for number in range(30)]
#: Each attempt logs and prints more than a pipe holds; all together more than is queued. The first job fails once.
LOUD = """\
import structlog
from listener.runtime import log_stream

def handle(result):
    structlog.get_logger().info("handler.called", text="x" * (log_stream.MAX_QUEUED // 10))
    print("y" * 100_000, flush=True)
    if result.job_id == "job-0" and result.attempt == 1:
        raise ValueError("on purpose")
"""
TO_LOUD = """\
[[routes]]
name = "all"
handlers = [{{ use = "python", callable = "loud:handle" }}]
retry = {{ initial_backoff = "10ms" }}
"""


@pytest.fixture
def loud(place: Place) -> Place:
    (place.folder / "loud.py").write_text(LOUD)
    place.settings(TO_LOUD)
    place.send(*JOBS)
    return place


class Pipe:
    """A pipe that holds little."""

    def __init__(self) -> None:
        self.readable, self.writable = os.pipe()
        fcntl.fcntl(self.writable, fcntl.F_SETPIPE_SZ, 4096)
        self._open = {self.readable, self.writable}

    def close(self, *descriptors: int) -> None:
        for descriptor in self._open & set(descriptors or self._open):
            os.close(descriptor)
            self._open.remove(descriptor)

    def lines(self) -> Iterator[str]:
        """Every line until all writers have closed it."""
        self.close(self.writable)
        with open(self.readable, encoding="utf-8", closefd=False) as text:
            yield from text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    try:
        yield made
    finally:
        made.close()


def all_done(place: Place) -> bool:
    return place.delivery_states() == {"done": len(JOBS)}


def test_a_log_on_a_full_disk_stops_nothing(loud: Place) -> None:
    with open("/dev/full", "wb") as full:
        program = loud.run(output=full.fileno()).ready()

    wait_until(lambda: all_done(loud))
    assert program.stop() == 0


def test_a_log_whose_reader_is_gone_stops_nothing(loud: Place, pipe: Pipe) -> None:
    program = loud.run(output=pipe.writable)
    pipe.close()

    program.ready()
    wait_until(lambda: all_done(loud))
    assert program.stop() == 0


def test_a_log_that_is_never_read_stops_nothing(loud: Place, pipe: Pipe) -> None:
    program = loud.run(output=pipe.writable).ready()

    wait_until(lambda: all_done(loud))
    assert program.stop() == 0


def test_a_log_that_is_read_again_says_how_many_lines_are_missing(loud: Place, pipe: Pipe) -> None:
    (loud.folder / "loud.py").write_text(LOUD.replace("print(", "len(").replace(", flush=True", ""))
    program = loud.run(output=pipe.writable, http__listen=f"unix:{loud.folder}/http").ready()
    wait_until(lambda: all_done(loud))
    counted = lines_dropped(loud.folder / "http")

    entries: list[dict[str, object]] = []
    for line in pipe.lines():
        entries.append(json.loads(line))
        if entries[-1]["event"] == "log.lines_dropped":
            program.send(signal.SIGTERM)
    assert program.wait() == 0
    events = Counter(entry["event"] for entry in entries)
    (missing,) = [entry["lines"] for entry in entries if entry["event"] == "log.lines_dropped"]
    assert missing == counted > 0
    # One line for each call of the handler and one for its failure, whether written or dropped.
    assert events["handler.called"] + events["delivery.settled"] + counted >= len(JOBS) + 2
    assert entries[-1]["event"] == "listener.stopped"


def lines_dropped(address: Path) -> float:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(address), verify=False), timeout=BOUND) as client:
        metrics = client.get("http://listener/metrics").text
    name = 'mns_listener_log_lines_dropped_total{stream="stderr"}'
    return float(next(line.split()[1] for line in metrics.splitlines() if line.startswith(name)))


@pytest.mark.parametrize("trouble", ["never read", "reader gone"])
def test_a_second_signal_ends_the_process_also_if_its_words_cannot_be_written(
    place: Place, pipe: Pipe, trouble: str
) -> None:
    started = place.folder / "started"
    (place.folder / "loud.py").write_text(
        f"import threading\n\ndef handle(result):\n    print('x' * 100_000, flush=True)\n"
        f"    open({str(started)!r}, 'w').close()\n    threading.Event().wait()\n"
    )
    place.settings(TO_LOUD)
    place.send("job-1")
    program = place.run(output=pipe.writable, service__shutdown_timeout="10m").ready()
    wait_until(started.exists)
    if trouble == "reader gone":
        pipe.close()
    program.send(signal.SIGTERM)
    program.ear.wait_for("STOPPING=1")
    program.send(signal.SIGTERM)

    assert program.wait() == 1
