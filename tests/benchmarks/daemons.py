"""The listener as its users run it: ``mns-listener run`` with settings in a file, logs in a file, metrics on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.callbacks import QUEUE
from tests.benchmarks.places import BOUND, ENVIRONMENT, Server, Stuck, wait_for
from tests.process.program import Program

#: Of the settings only what has no default: all else is as a user finds it.
SETTINGS = """\
[store]
url = "{store}"

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

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def requests_per_1000(self) -> float:
        return 1000 * self.requests / self.count


@contextmanager
def daemons(
    folder: Path,
    server: Server,
    *arguments: str,
    store: str,
    handler: str = NO_OP,
    processes: int = 1,
    **settings: str,
) -> Iterator[Sequence[Program]]:
    """Running daemons of one settings file; ``dispatch__workers="50"`` sets one setting."""
    path = folder / "listener.toml"
    path.write_text(
        SETTINGS.format(store=store, endpoint=server.url, queue=QUEUE, handler=handler), encoding="utf-8"
    )
    variables = {f"MNS_LISTENER_{name.upper()}": value for name, value in settings.items()}
    command = ("run", "-c", str(path), *arguments)
    started: list[Program] = []
    try:
        for _ in range(processes):
            started.append(Program(*command, folder=folder, environment={**ENVIRONMENT, **variables}))
        yield started
    finally:
        for program in started:
            program.close()


def drain(
    folder: Path, server: Server, *, series: str, count: int, store: Path, delay: float = 0.0, **settings: str
) -> Drained:
    """Drain a queue of so many callbacks with a daemon of its own, and check that all of them were handled."""
    server.reset(delay=delay)
    server.fill(series, count)
    before = settled(store)
    with daemons(folder, server, "--drain", store=f"sqlite:///{store}", **settings) as (daemon,):
        if (status := daemon.wait(seconds=BOUND)) != 0:
            raise Stuck(f"the daemon ended with {status}: {daemon.stderr[-2000:]}")
    after = settled(store)
    if after.done - before.done != count:
        raise Stuck(f"{after.done - before.done} of {count} callbacks were handled")
    return drained(server.state(), count, last_settled=after.last)


def drained(state: dict[str, Any], count: int, *, last_settled: float) -> Drained:
    """By the server's counts, and by the store where handlers were done later than the last message was deleted."""
    end = max(state["last_deleted"], last_settled)
    return Drained(count=count, seconds=end - state["first_received"], requests=state["requests"])


@dataclass(frozen=True)
class Settled:
    done: int
    last: float  #: seconds since 1970


def settled(store: Path) -> Settled:
    """How many deliveries are done, and when the last of them was."""
    with closing(sqlite3.connect(store)) as connection:
        found = "SELECT count(*), coalesce(max(settled_at), 0) FROM deliveries WHERE state = 'done'"
        done, last = connection.execute(found).fetchone()
    return Settled(done, last / 1e6)


def wait_until_ready(daemon: Program) -> None:
    wait_for(lambda: "READY=1" in daemon.ear.heard(), what="the daemon was ready", seconds=60)
