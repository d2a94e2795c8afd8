"""The listener as its users run it: ``mns-listener run`` with settings in a file, logs in a file, metrics on."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tests.benchmarks.places import ENVIRONMENT, Server
from tests.benchmarks.series import QUEUE
from tests.support.program import Program

if TYPE_CHECKING:  # its driver is an extra
    from tests.support.postgres import PostgresServer

#: Of the settings only what has no default, and that several processes may share the store: all else is as a user finds
#: it.
SETTINGS = """\
[store]
url = "{store}"
shared = true

[http]
listen = "127.0.0.1:0"

[log]
format = "json"

[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"

[[routes]]
name = "all"
handlers = [{{ use = "python", callable = "{handler}" }}]
"""
#: Takes anything and does nothing.
NO_OP = "builtins:id"


@dataclass(frozen=True)
class Drained:
    """What one drain came to: from the first message received to the last deleted and settled."""

    count: int
    seconds: float
    requests: int
    ended: float = 0.0  #: in seconds since 1970
    #: Of the daemons meanwhile, if they were ready before the first message, and of the database's server.
    cpu_seconds: float = 0.0
    #: How often their threads began to wait, from then to their end.
    switches: int = 0

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def requests_per_1000(self) -> float:
        return 1000 * self.requests / self.count

    @property
    def cpu_each(self) -> float:
        """Microseconds for a callback."""
        return 1e6 * self.cpu_seconds / self.count

    @property
    def switches_each(self) -> float:
        return self.switches / self.count


def setting(**settings: str) -> dict[str, str]:
    """The environment that sets them: ``dispatch__concurrency="50"``."""
    return {f"MNS_LISTENER_{name.upper()}": value for name, value in settings.items()}


@contextmanager
def daemons(
    folder: Path,
    server: Server,
    *arguments: str,
    store: str,
    handler: str = NO_OP,
    processes: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Sequence[Program]]:
    """Running daemons of one settings file."""
    path = folder / "listener.toml"
    path.write_text(
        SETTINGS.format(store=store, endpoint=server.url, queue=QUEUE, handler=handler), encoding="utf-8"
    )
    command = ("run", "-c", str(path), *arguments)
    started: list[Program] = []
    try:
        for _ in range(processes):
            # Fresh, since a fork has the memory of all that tests import, and starts without importing anything.
            started.append(
                Program(*command, folder=folder, environment={**ENVIRONMENT, **environment}, fresh=True)
            )
        yield started
    finally:
        for program in started:
            program.close()


def cpu_seconds(*programs: Program) -> float:
    """User and system time of all their threads so far, including those that have ended."""
    return sum(time.clock_gettime(_cpu_clock(each.process.pid)) for each in programs)


@contextmanager
def cpu_samples(*programs: Program) -> Iterator[list[tuple[float, float]]]:
    """The time in seconds since 1970, and ``cpu_seconds`` then: at the start, and every 10 ms until the end.

    What the programs do after a drain, until somebody has noticed its end, is not its own.
    """
    ended, samples = threading.Event(), [(time.time(), cpu_seconds(*programs))]

    def sample() -> None:
        while not ended.wait(0.01):
            samples.append((time.time(), cpu_seconds(*programs)))

    thread = threading.Thread(target=sample, name="cpu samples")
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        samples.append((time.time(), cpu_seconds(*programs)))


def cpu_used(samples: Sequence[tuple[float, float]], *, until: float) -> float:
    """From the first sample to the first one that is not before this time, or to the last one."""
    used = next((cpu for at, cpu in samples if at >= until), samples[-1][1])
    return used - samples[0][1]


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) returns on Linux: its unit is a nanosecond, that of /proc/PID/stat is 10 ms."""
    return ~pid << 3 | 2


def switches(*programs: Program) -> int:
    """How often their threads, except those that have ended, began to wait (voluntary context switches)."""
    tasks = [task for each in programs for task in Path(f"/proc/{each.process.pid}/task").iterdir()]
    statuses = [(task / "status").read_text("ascii") for task in tasks]
    return sum(int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for status in statuses)


def switches_of_ended() -> int:
    """The same of all child processes so far that have ended, with all their threads."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw


def server_cpu_seconds(server: PostgresServer) -> float:
    """The same of all processes of a PostgreSQL, those that have ended included."""
    while True:
        first, *others = server.pids()
        try:
            return sum(_times(first)) + sum(sum(_times(pid)[:2]) for pid in others)
        except FileNotFoundError:  # a session has ended since; its time counts with the first process
            continue


def _times(pid: int) -> list[float]:
    """The seconds of user and system time of a process, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return [int(each) / os.sysconf("SC_CLK_TCK") for each in fields[11:15]]


def drained(state: dict[str, Any], count: int, *, last_settled: float) -> Drained:
    """By the server's counts, and by the store where handlers were done later than the last message was deleted."""
    end = max(state["last_deleted"], last_settled)
    return Drained(count=count, ended=end, seconds=end - state["first_received"], requests=state["requests"])
