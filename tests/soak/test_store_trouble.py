"""The store can't be written to for a while: nothing is lost, nothing repeated, and nothing need be restarted."""

from __future__ import annotations

import resource
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.soak.ledger import account_for
from tests.soak.plan import Plan, duplicated, garbled, items, plain, slow
from tests.soak.run import Run, started
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

PLAN = Plan(
    seed=11, items=items(Random("store"), messages=150, ways={plain: 6, duplicated: 2, garbled: 1, slow: 1})
)
#: Longer than any statement waits, and longer than every lease.
LOCKED = 15.0
#: The schema and a few rows, and what no test fills.
PAGES, MANY = 45, 1_000_000


def settled(run: Run) -> None:
    """Let the run finish, and account for it: there was no kill, so there are no repeats at all."""
    run.settle()
    found = account_for(PLAN, run.evidence())
    assert (found.complaints, dict(found.repeats), dict(found.resumed)) == ([], {}, {})


def test_a_store_locked_by_another_program_is_waited_for(tmp_path: Path) -> None:
    with started(PLAN, tmp_path / "run") as run:
        run.processes.start(0)
        wait_until(run.processes.all_started)
        with closing(sqlite3.connect(tmp_path / "run/listener.db", timeout=30, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            run.post_all()
            threading.Event().wait(LOCKED)  # the outage itself, not a wait for anything
            wait_until(lambda: "database is locked" in run.processes.log(0))
            assert run.evidence().rows.results == []
        settled(run)


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    disk = tmp_path / "pages"
    disk.write_text(str(PAGES))
    entry = ("tests.soak.listener_with", "--disk", str(disk))
    with started(PLAN, tmp_path / "run", entry=entry) as run:
        run.processes.start(0)
        wait_until(run.processes.all_started)
        run.post_all()
        wait_until(lambda: "disk is full" in run.processes.log(0))
        disk.write_text(str(MANY))
        settled(run)


def test_a_file_size_limit_is_waited_for(tmp_path: Path) -> None:
    with started(PLAN, tmp_path / "run") as run:
        process = run.processes.start(0)
        wait_until(run.processes.all_started)
        before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
        run.post_all()
        wait_until(lambda: '"store.unavailable"' in run.processes.log(0))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
        settled(run)
