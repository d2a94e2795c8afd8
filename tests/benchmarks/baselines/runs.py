"""One drain by each of the baselines."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.benchmarks.baselines import work
from tests.benchmarks.daemons import Drained
from tests.benchmarks.places import BOUND, ENVIRONMENT, Server, Stuck, wait_for

#: huey with more threads was not faster here: SQLite has one writer. Dramatiq: its defaults on two cores.
HUEY: Final = ("huey.bin.huey_consumer", "tests.benchmarks.baselines.huey_tasks.huey", "--workers", "1")
DRAMATIQ: Final = (
    "dramatiq",
    "tests.benchmarks.baselines.dramatiq_actors",
    "--processes",
    "2",
    "--threads",
    "8",
)


def missing(baseline: str) -> str:
    """Why this baseline can't run here; empty when it can."""
    if importlib.util.find_spec(baseline) is None:
        return f"{baseline} is not installed (the extra is called bench)"
    if baseline == "dramatiq" and shutil.which("redis-server") is None:
        return "dramatiq needs redis-server, which is not installed"
    return ""


def sdk_drain(
    folder: Path, server: Server, *, turn: str, series: str, count: int, delay: float = 0.0
) -> Drained:
    """The SDK's ``single``, ``expert`` or ``batch`` loop."""
    store = work.new_store(folder / "baseline.db", series, count)
    server.reset(delay=delay)
    server.fill(series, count)
    _run("tests.benchmarks.baselines.sdk_loops", turn, server.url, str(store), str(count))
    state = server.state()
    if state["deleted"] != count:
        raise Stuck(f"the {turn} loop deleted {state['deleted']} of {count}")
    seconds = state["last_deleted"] - state["first_received"]
    return Drained(count=count, seconds=seconds, requests=state["requests"])


def huey_drain(folder: Path, *, series: str, count: int) -> Drained:
    return _drain_tasks(folder, "huey", HUEY, {"BENCH_HUEY": str(folder / "huey.db")}, series, count)


def dramatiq_drain(folder: Path, *, series: str, count: int) -> Drained:
    with _redis(folder) as url:
        return _drain_tasks(folder, "dramatiq", DRAMATIQ, {"BENCH_REDIS": url}, series, count)


def _drain_tasks(
    folder: Path, name: str, command: tuple[str, ...], variables: Mapping[str, str], series: str, count: int
) -> Drained:
    """Enqueue everything, then start the workers; from the first job finished to the last."""
    store = work.new_store(folder / "baseline.db", series, count)
    environment = {**variables, work.STORE_VARIABLE: str(store)}
    _run("tests.benchmarks.baselines.enqueue", name, series, str(count), **environment)
    with _child(folder / f"{name}.log", *command, **environment) as workers:
        wait_for(
            lambda: work.finished(store)[0] == count or workers.poll() is not None,
            what=f"{name} was done",
            pause=0.1,
        )
    done, first, last = work.finished(store)
    if done != count:
        raise Stuck(f"{name} finished {done} of {count}: {(folder / f'{name}.log').read_text()[-2000:]}")
    return Drained(count=count - 1, seconds=last - first, requests=0)


def _run(module: str, *arguments: str, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **ENVIRONMENT, **environment},
        check=True,
        timeout=BOUND,
    )


@contextmanager
def _child(log: Path, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running Python module with a log of its own, ended with all its processes at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once, with all processes of its session: a graceful stop takes seconds, and nothing is left to do."""
    with suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis of our own with the settings that it comes with, but for the port; yields its URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_for(
            lambda: _listens(port) or process.poll() is not None, what="redis-server listened", seconds=30
        )
        if process.poll() is not None:
            raise Stuck(
                f"redis-server ended with {process.poll()}: {(folder / 'redis.log').read_text()[-500:]}"
            )
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _end(process)


def _listens(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
        return True
    return False
