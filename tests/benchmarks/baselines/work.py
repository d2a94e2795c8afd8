"""What every baseline does for a callback: read it, find its job, note the outcome, call an empty handler."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.series import job_id

#: Names the store for processes that somebody else's program starts.
STORE_VARIABLE: Final = "BENCH_STORE"


def new_store(path: Path, series: str, count: int) -> Path:
    """A table of jobs as one would draw it up for this."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE jobs"
            " (job_id TEXT PRIMARY KEY, state TEXT, code TEXT, finished_at REAL, handled_at REAL)"
        )
        connection.execute("CREATE INDEX jobs_finished ON jobs (finished_at)")
        rows = ((job_id(series, number), "Submitted") for number in range(count))
        connection.executemany("INSERT INTO jobs (job_id, state) VALUES (?, ?)", rows)
    return path


class Jobs:
    """The store of one thread. As durable as the listener's: each commit is on disk when it returns."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=60)
        self._connection.execute("PRAGMA synchronous = FULL")

    def finish(self, text: str | bytes) -> None:
        """The callback's JSON text."""
        callback = json.loads(text)
        found = self._connection.execute("SELECT state FROM jobs WHERE job_id = ?", (callback["JobId"],))
        if found.fetchone() is not None:
            with self._connection:
                self._connection.execute(
                    "UPDATE jobs SET state = ?, code = ?, finished_at = ? WHERE job_id = ?",
                    (callback["State"], callback["Code"], time.time(), callback["JobId"]),
                )
        handle(callback)

    def finish_all(self, texts: Sequence[str | bytes]) -> Sequence[Any]:
        """The callbacks whose jobs are known, once the outcomes of all these are written in one transaction."""
        callbacks = [json.loads(text) for text in texts]
        wanted = [callback["JobId"] for callback in callbacks]
        places = ",".join("?" * len(wanted))
        with self._connection:
            found = self._connection.execute(f"SELECT job_id FROM jobs WHERE job_id IN ({places})", wanted)
            known = {row[0] for row in found}
            ours, now = [each for each in callbacks if each["JobId"] in known], time.time()
            self._connection.executemany(
                "UPDATE jobs SET state = ?, code = ?, finished_at = ? WHERE job_id = ?",
                [(each["State"], each["Code"], now, each["JobId"]) for each in ours],
            )
        return ours

    def handle_all(self, callbacks: Sequence[Any]) -> None:
        """Call the handler with each, and write in another transaction that this was done."""
        for callback in callbacks:
            handle(callback)
        with self._connection:
            self._connection.executemany(
                "UPDATE jobs SET handled_at = ? WHERE job_id = ?",
                [(time.time(), each["JobId"]) for each in callbacks],
            )


def handle(callback: object) -> None:
    """The handler."""


_of_thread = threading.local()


def on_message(body: str) -> None:
    """What a task does with a message body, in any thread of a worker's."""
    if not hasattr(_of_thread, "jobs"):
        _of_thread.jobs = Jobs(os.environ[STORE_VARIABLE])
    _of_thread.jobs.finish(base64.b64decode(body))


def finished(path: Path) -> tuple[int, float, float]:
    """How many jobs are finished, and when the first and the last of them were."""
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        found = "SELECT count(finished_at), coalesce(min(finished_at), 0), coalesce(max(finished_at), 0) FROM jobs"
        count, first, last = connection.execute(found).fetchone()
    return count, first, last
