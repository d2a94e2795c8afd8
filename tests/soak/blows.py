"""Carries out the blows of a plan: what is done to the listener processes, their logs, their clock and their store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.soak.evidence import STORE
from tests.soak.plan import (
    CLOCK_WRONG,
    FILE_AWAY,
    FREEZE,
    SERVER_AWAY,
    STORE_LOCK,
    STORE_OUTAGE,
    STORM,
    Blow,
)
from tests.soak.stores import PostgresDatabase, SqliteFile

if TYPE_CHECKING:
    from tests.soak.run import Run


def strike(run: Run, blow: Blow) -> None:
    """Strike one blow; most last for a while, and the next one comes after them."""
    match blow.kind:
        case "kill":
            run.processes.kill(blow.slot)
        case "stop":
            run.processes.stop(blow.slot)
        case "freeze":
            # Not on this thread, which may be waiting for what the frozen process holds.
            threading.Timer(FREEZE, run.processes.freeze(blow.slot)).start()
        case "hup":
            run.processes.hang_up(blow.slot, times=STORM, between=lambda number: _change(run, number))
        case "clock":
            _let_clock_jump(run, blow.days)
        case "log-full" | "log-gone" | "log-stalled":
            run.processes.restart_with_log(blow.slot, blow.kind)
        case "lock":
            _lock(run)
        case _:
            _to_store(run, blow.kind)


def _change(run: Run, number: int) -> None:
    """Every other time the settings are the same as before."""
    run.write_settings(variant=number // 2)
    _pause(0.05)


def _let_clock_jump(run: Run, days: float) -> None:
    run.shift_clock(days=days)
    _pause(CLOCK_WRONG)
    run.shift_clock(days=0.0)
    run.processes.happened["clock"] += 1


def _lock(run: Run) -> None:
    """Another program writes to the database and takes its time; this thread goes on meanwhile."""
    release = run.under.lock()
    run.processes.happened["lock"] += 1
    threading.Timer(STORE_LOCK, release).start()


def _to_store(run: Run, kind: str) -> None:
    """What only ends when the store is back; the run itself does not use it meanwhile."""
    run.await_start()  # a process that found no file would create one
    with run.store_in_use:
        since = time.monotonic()
        if kind == "outage":
            _for_a_while(run.under.lock(), STORE_OUTAGE)
        elif isinstance(run.under, PostgresDatabase):
            _to_server(run, run.under, kind)
        else:
            _to_file(run, run.under, kind, since)
        run.processes.note(kind, STORE, since)


def _to_server(run: Run, database: PostgresDatabase, kind: str) -> None:
    if kind == "server-freeze":
        _for_a_while(database.freeze(), STORE_OUTAGE)
    else:
        database.crash(SERVER_AWAY)
        run.close_store()


def _to_file(run: Run, file: SqliteFile, kind: str, since: float) -> None:
    """A file that comes back must be used again; after any other change the processes are replaced."""
    run.close_store()
    if kind == "file-away":
        _for_a_while(file.take_away(), FILE_AWAY)
        return
    if kind == "file-replaced":
        file.replace_by_copy()
    else:
        file.remove_wal()
    _pause(FILE_AWAY)
    run.processes.restart_all(kind, since)


def _for_a_while(undo: Callable[[], None], seconds: float) -> None:
    try:
        _pause(seconds)
    finally:
        undo()


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
