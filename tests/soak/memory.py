"""The soak for leaks: very many callbacks through one listener process, which must not grow.

``python -m tests.soak.memory`` sends 300,000; reads memory, threads and open files after each third, in a quiet moment.
Ends with 1 if memory grew by more than a twentieth, threads at all, or files by more than the store's pool explains.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from listener.emulator import Emulator, Options
from listener.emulator.mns.queue import draft
from listener.emulator.server import RunningEmulator, running
from listener.store.sql_store import SqlStore
from tests.soak.processes import ROOT, STARTED, environment
from tests.support.builders import a_callback, wrapped
from tests.support.waiting import wait_until

QUEUE = "many"
#: Callbacks put into the queue at a time; the next ones follow when these are gone.
PORTION = 2_000
#: Seconds that a portion may take at most.
TIMEOUT = 120.0
MOST_GROWTH = 0.05
#: When more threads than before use the store at once, its pool grows to five connections, of two files each.
MOST_POOLED_FILES = 2 * 4

SETTINGS = """\
[store]
url = "sqlite:///{folder}/listener.db"
[correlation]
wait = "0s"
[http]
listen = ""
[log]
format = "json"
[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"
wait = "1s"
[[routes]]
name = "all"
handlers = [{{ use = "python", callable = "tests.soak.recorder:forget" }}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a process takes up."""

    handled: int
    rss_kib: int
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int, *, handled: int) -> Reading:
        """Read from /proc."""
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            handled=handled,
            rss_kib=int(status["VmRSS"].split()[0]),
            threads=int(status["Threads"]),
            files=len(os.listdir(f"/proc/{pid}/fd")),
        )

    def __str__(self) -> str:
        memory = f"{self.rss_kib / 1024:.1f} MiB"
        return f"{self.handled:>8,} callbacks  {memory}  {self.threads} threads  {self.files} files"


def growth(readings: Sequence[Reading]) -> list[str]:
    """What has grown between the first and the last reading, in words."""
    first, last = readings[0], readings[-1]
    found = []
    if last.rss_kib > first.rss_kib * (1 + MOST_GROWTH):
        found.append(f"memory grew by {(last.rss_kib / first.rss_kib - 1):.1%}")
    if last.threads > first.threads:
        found.append(f"{last.threads - first.threads} more threads")
    if last.files > first.files + MOST_POOLED_FILES:
        found.append(f"{last.files - first.files} more open files")
    return found


def measure(total: int, folder: Path, report: Callable[[Reading], None]) -> list[Reading]:
    """Send ``total`` callbacks through one process; three readings."""
    readings: list[Reading] = []
    with running(Options(queues=(QUEUE,))) as server, _listening(folder, server.url) as process:
        store = SqlStore.open(f"sqlite:///{folder}/listener.db")
        try:
            wait_until(lambda: STARTED in (folder / "log.jsonl").read_text(encoding="utf-8"), seconds=TIMEOUT)
            at_rest = Reading.of(process.pid, handled=0).threads
            for third in range(3):
                _send(server, store, numbers=range(third * total // 3, (third + 1) * total // 3))
                # The additional pollers stop.
                wait_until(lambda: Reading.of(process.pid, handled=0).threads <= at_rest, seconds=TIMEOUT)
                readings.append(Reading.of(process.pid, handled=(third + 1) * total // 3))
                report(readings[-1])
        finally:
            store.close()
    return readings


@contextmanager
def _listening(folder: Path, endpoint: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = folder / "listener.toml"
    settings.write_text(SETTINGS.format(folder=folder, endpoint=endpoint, queue=QUEUE))
    command = [sys.executable, "-m", "listener", "run", "-c", str(settings)]
    with (folder / "log.jsonl").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(folder), stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _send(server: RunningEmulator, store: SqlStore, *, numbers: range) -> None:
    """Send callbacks, a portion at a time, and wait until all of them are handled."""
    for start in range(numbers.start, numbers.stop, PORTION):
        bodies = [_body(number) for number in range(start, min(start + PORTION, numbers.stop))]
        server.call(partial(_put, bodies=bodies))
        wait_until(lambda: server.call(_left) == 0, seconds=TIMEOUT)
    wait_until(lambda: store.outstanding() == 0, seconds=TIMEOUT)


def _body(number: int) -> str:
    return wrapped(a_callback(JobId=f"{number:032x}", UserData=f"all:{number}"))


def _put(emulator: Emulator, *, bodies: Sequence[str]) -> None:
    emulator.mns.queues[QUEUE].send([draft(body) for body in bodies])


def _left(emulator: Emulator) -> int:
    queue = emulator.mns.queues[QUEUE]
    return queue.sent - queue.deleted


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.memory", description=__doc__)
    parser.add_argument("--callbacks", type=int, default=300_000)
    total = parser.parse_args(arguments).callbacks
    with tempfile.TemporaryDirectory(prefix="soak-memory-") as folder:
        readings = measure(total, Path(folder), lambda reading: print(reading, flush=True))
    found = growth(readings)
    print("; ".join(found) or "nothing has grown")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
