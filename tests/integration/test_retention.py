"""The daemon deletes what is old, by itself, and leaves the store to others in between."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from listener.core.ports import ClockCheck
from listener.daemon.daemon import Daemon
from listener.daemon.maintenance import HOUSEKEEPING_INTERVAL, PrunerLoop
from listener.emulator import Options
from listener.emulator.server import running
from listener.settings.loader import load
from listener.store.pruner import ROWS_PER_STEP, Pruner
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_decoded_message, a_message, routes_all
from tests.support.clocks import RIGHT, UNKNOWN, WRONG
from tests.support.sqlite import new_sqlite, new_sqlite_store
from tests.support.stores import count, quarantine
from tests.support.waiting import wait_until

SETTINGS = """
[store]
url = "{store}"
retention = "1h"
[http]
listen = ""
[credentials]
access_key_id_file = "{folder}/id"
access_key_secret_file = "{folder}/secret"
[[queues]]
endpoint = "{endpoint}"
queue = "callbacks"
wait = "1s"
[[routes]]
name = "all"
handlers = [{{ use = "log" }}]
"""


def test_a_daemon_deletes_what_is_old_in_steps_with_pauses(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("testKeyId")
    (tmp_path / "secret").write_text("testKeySecret")
    url = new_sqlite(tmp_path / "store.db")
    with closing(SqlStore.open(url)) as store, running(Options(queues=("callbacks",))) as server:
        garbled = [
            a_decoded_message(result=None, message=a_message(message_id=str(number)))
            for number in range(2 * ROWS_PER_STEP)
        ]
        store.record(garbled, routes_all(), at=NOON)
        pruner = Pruner(store.database, keep=timedelta(hours=1))
        loop = PrunerLoop(pruner, idle=lambda: False, clock_check=RIGHT, stop=threading.Event())
        pauses = [loop.turn() for _ in range(3)]  # results, jobs, and the first of the quarantine
        assert count(store, quarantine) == ROWS_PER_STEP
        assert all(timedelta(0) < pause <= HOUSEKEEPING_INTERVAL for pause in pauses)

        daemon = Daemon(load(SETTINGS.format(store=url, folder=tmp_path, endpoint=server.url), {}))
        daemon.start()
        try:
            wait_until(lambda: count(store, quarantine) == 0)
        finally:
            daemon.stop()


@pytest.mark.parametrize("clock_check", [UNKNOWN, WRONG], ids=["unknown", "wrong"])
def test_nothing_is_deleted_unless_the_clock_is_confirmed(tmp_path: Path, clock_check: ClockCheck) -> None:
    """With a clock that is a month ahead, copies of everything would be handled again."""
    with new_sqlite_store(tmp_path) as store:
        store.record([a_decoded_message(result=None)], routes_all(), at=NOON)
        pruner = Pruner(store.database, keep=timedelta(hours=1))
        idle, stop = (lambda: True), threading.Event()
        for each, left in ((clock_check, 1), (RIGHT, 0)):
            loop = PrunerLoop(pruner, idle=idle, clock_check=each, stop=stop)
            assert [loop.turn() > timedelta(0) for _ in range(3)] == [True] * 3
            assert count(store, quarantine) == left
