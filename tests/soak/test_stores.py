"""What the campaign starts ends with it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.support.forked import forking_context
from tests.support.postgres import PostgresServer, server
from tests.support.waiting import is_dead


def started() -> tuple[int, str]:
    """The first process of the server of this process, and its folder."""
    running: PostgresServer = server()
    return running.pids()[0], running.url().rpartition("=")[2]


def test_the_postgresql_server_of_a_process_of_the_campaign_ends_with_it() -> None:
    with ProcessPoolExecutor(1, mp_context=forking_context()) as pool:
        pid, folder = pool.submit(started).result()

    assert is_dead(pid)
    assert not Path(folder).exists()
