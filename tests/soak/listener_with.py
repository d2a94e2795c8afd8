"""The listener with something done to it: ``python -m tests.soak.listener_with [options] run …``

``--crash-at`` kills the process when it reaches a named point for the first time, ``--without`` removes a protection,
``--disk`` makes the disk small, ``--clock`` shifts the clock. Everything else is the unchanged listener.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from sqlalchemy import Pool, event

from listener.aliyun.mns_queue import MnsQueue
from listener.cli import main
from listener.core import clock
from listener.core.model import Result
from listener.intake.poller import Poller
from listener.store import claims, delivery_rows, ingest, schema
from listener.store.sql_store import SqlStore

#: How the file of ``--clock`` holds its number.
CLOCK_OFFSET = struct.Struct("d")


def crash(*_: object, **__: object) -> None:
    """End as a power cut would end it: nothing is flushed, nothing is reported. Only the first process does so."""
    try:
        (Path(os.environ["SOAK_FOLDER"]) / "crashed").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str, *, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Crash when this is called."""
    original = getattr(owner, name)

    @wraps(original)
    def crashing(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            crash()
        return original(*arguments, **named)

    setattr(owner, name, crashing)


def _after(owner: Any, name: str, *, when: Callable[[Any], bool] = bool) -> None:
    """Crash when this has returned something."""
    original = getattr(owner, name)

    @wraps(original)
    def crashing(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named)
        if when(answer):
            crash()
        return answer

    setattr(owner, name, crashing)


def _in_handler() -> None:
    from tests.soak import recorder

    _before(recorder, "_act")


#: The places where a crash hurts, each with how to get there. ``_write_done`` runs inside the transaction.
POINTS: Mapping[str, Callable[[], None]] = {
    "migration": lambda: _before(schema, "_run_migrations"),
    "after-migration": lambda: _after(schema, "_run_migrations", when=lambda _: True),
    "after-receive": lambda: _after(MnsQueue, "receive"),
    "in-record": lambda: _after(ingest, "record", when=lambda _: True),
    "after-record": lambda: _after(SqlStore, "record", when=lambda _: True),
    "before-delete": lambda: _before(MnsQueue, "delete"),
    "after-delete": lambda: _after(MnsQueue, "delete", when=lambda _: True),
    "after-claim": lambda: _after(SqlStore, "claim"),
    "in-handler": _in_handler,
    "before-settle": lambda: _before(SqlStore, "settle"),
    "in-settle": lambda: _after(claims, "_write_done"),
    "after-settle": lambda: _after(SqlStore, "settle", when=lambda _: True),
    "in-decide-waiting": lambda: _after(
        ingest, "decide_waiting", when=lambda recorded: recorded.deliveries > 0
    ),
}


def _without_dedup_key() -> None:
    """Every copy of a result counts as a new one."""
    Result.dedup_key = property(lambda self: f"{self.key}#{os.getpid()}#{id(self)}")  # type: ignore[method-assign,assignment]  # that is the sabotage


def _without_persist_first() -> None:
    """Messages are acknowledged before they are recorded."""

    def poll_once(self: Any) -> int:
        messages = self._queue.receive(limit=self._batch, wait=self._wait)
        self.idle = not messages
        if messages:
            self._delete(messages)
            self._recorder.record(self._queue.name, messages)
        return len(messages)

    Poller.poll_once = poll_once  # type: ignore[method-assign]  # that is the sabotage


def _without_renewal() -> None:
    """Leases end while their handlers run."""
    SqlStore.renew = lambda *_, **__: None  # type: ignore[method-assign]  # that is the sabotage


def _without_transaction() -> None:
    """A batch is committed piece by piece."""
    original = delivery_rows.insert_deliveries

    def committing(connection: Any, *arguments: Any, **named: Any) -> Any:
        connection.exec_driver_sql("COMMIT")
        crash()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return original(connection, *arguments, **named)

    delivery_rows.insert_deliveries = committing


def _without_settling() -> None:
    """Outcomes of handlers are never written."""
    SqlStore.settle = lambda *_, **__: ()  # type: ignore[method-assign]  # that is the sabotage


PROTECTIONS: Mapping[str, Callable[[], None]] = {
    "dedup_key": _without_dedup_key,
    "persist-first": _without_persist_first,
    "renewal": _without_renewal,
    "transaction": _without_transaction,
    "settling": _without_settling,
}


def _limit_pages(file: Path) -> None:
    """The database file may not grow beyond the number of pages in this file, which changes while the process runs; to
    SQLite that is a full disk."""

    @event.listens_for(Pool, "checkout")
    def limit(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {file.read_text('utf-8')}")


def _shift_clock(file: Path) -> None:
    """The wall clock is off by the number of seconds in a file, which changes while the process runs."""
    with file.open("rb") as opened:
        # Unlike a read, this costs next to nothing.
        offset = mmap.mmap(opened.fileno(), 8, prot=mmap.PROT_READ)
    clock.now = lambda: datetime.now(UTC) + timedelta(seconds=CLOCK_OFFSET.unpack(offset[:8])[0])


def run(arguments: list[str]) -> None:
    """Take the options off, do what they say, and start the listener with the rest."""
    while arguments and arguments[0] != "run":
        option, value, *arguments = arguments
        if option == "--crash-at":
            POINTS[value]()
        elif option == "--without":
            PROTECTIONS[value]()
        elif option == "--disk":
            _limit_pages(Path(value))
        elif option == "--clock":
            _shift_clock(Path(value))
        else:
            raise SystemExit(f"unknown option {option}")
    main(arguments, prog_name="mns-listener")


if __name__ == "__main__":
    run(sys.argv[1:])
