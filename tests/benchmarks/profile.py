"""``python -m tests.benchmarks.profile [COUNT]``: where a drain spends its CPU time, step by step.

The daemon runs in this process, under yappi with the CPU clock. Profiling slows small functions more than large ones,
so shares are to be read, not seconds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yappi  # type: ignore[import-untyped]  # it has no types

from listener.cli.common import settings_from
from listener.daemon.daemon import Daemon
from listener.runtime import log_setup
from tests.benchmarks.daemons import NO_OP, SETTINGS
from tests.benchmarks.places import ENVIRONMENT, running_server, wait_for
from tests.benchmarks.series import QUEUE
from tests.benchmarks.stores import new_store

#: The functions (file, name) that stand for the steps of the line, and the steps which run inside them.
STEPS: Final[Mapping[str, tuple[tuple[str, str], tuple[str, ...]]]] = {
    "receive + parse": (("mns_queue.py", "MnsQueue.receive"), ()),
    "decode": (("recorder.py", "decode_message"), ()),
    "route": (("routing.py", "decide"), ()),
    "record": (("ingest.py", "record"), ("route",)),
    "delete": (("mns_queue.py", "MnsQueue.delete"), ()),
    "claim": (("claims.py", "claim"), ()),
    "handle": (("dispatcher.py", "Dispatcher._work"), ()),
    "settle": (("claims.py", "settle"), ()),
    "transactions": (("group_commit.py", "GroupCommit.run"), ("record", "route", "claim", "settle")),
    "report (metrics, logs)": (("settler.py", "Settler.report"), ()),
}
TOP_FUNCTIONS: Final = 40


def shares(spent: Mapping[tuple[str, str], float], total: float) -> dict[str, float]:
    """The share of each step in the total, without the steps inside it, and of all the rest.

    ``spent`` are seconds in a function and in all that it called.
    """
    own: dict[str, float] = {}
    for step, (place, inside) in STEPS.items():
        own[step] = spent.get(place, 0.0) - sum(own[each] for each in inside)
    own["rest (loops, threads, locks)"] = total - sum(own.values())
    return {step: seconds / total for step, seconds in own.items()}


def main(count: int) -> None:
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as name, running_server() as server:
        folder = Path(name)
        store = new_store(folder, "profile", count)
        server.reset()
        server.fill("profile", count)
        path = folder / "listener.toml"
        path.write_text(SETTINGS.format(store=store, endpoint=server.url, queue=QUEUE, handler=NO_OP))
        settings = settings_from(path)
        log_setup.configure(level=settings.log.level, format=settings.log.format)
        _profile(Daemon(settings, drain=True))
    _report(count)


def _profile(daemon: Daemon) -> None:
    yappi.set_clock_type("cpu")
    yappi.set_context_name_callback(lambda: threading.current_thread().name)
    yappi.start(builtins=True)
    daemon.start()
    # Asked seldom, since asking reads the store.
    wait_for(daemon.drained, what="the queue was drained", pause=0.3)
    yappi.stop()
    daemon.stop()


def _report(count: int) -> None:
    functions = list(yappi.get_func_stats())
    threads = sorted(yappi.get_thread_stats(), key=lambda one: -one.ttot)
    total = sum(each.ttot for each in threads)
    spent: dict[tuple[str, str], float] = {}
    for each in functions:
        place = (Path(each.module).name, each.name.rpartition(".<locals>.")[2])
        spent[place] = spent.get(place, 0.0) + each.ttot
    print(f"{count} callbacks, {1e6 * total / count:.0f} us of CPU each under the profiler\n")
    for step, share in shares(spent, total).items():
        print(f"{step:<30} {share:6.1%}")
    print("\nthreads: " + ", ".join(f"{each.name} {each.ttot / total:.1%}" for each in threads[:6]))
    print(f"\n{'us each':>8} {'own':>8} {'calls':>8}  function")
    for each in sorted(functions, key=lambda one: -one.tsub)[:TOP_FUNCTIONS]:
        print(_line(each, count))


def _line(each: Any, count: int) -> str:
    place = f"{Path(each.module).name}:{each.lineno} {each.name}"
    return f"{1e6 * each.ttot / count:8.1f} {1e6 * each.tsub / count:8.1f} {each.ncall / count:8.2f}  {place}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
