"""Several daemons on one queue and one PostgreSQL: they share the work, and survive each other and the server."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from listener.core.model import Target
from listener.emulator import Options
from listener.emulator.server import running
from listener.store.sql_store import SqlStore
from listener.store.tables import deliveries
from tests.support import postgres
from tests.support.builders import decoded_messages, routes_all
from tests.support.postgres import PostgresServer
from tests.support.program import QUEUE, Place, Program, hang_in
from tests.support.waiting import has_line, wait_until

pytestmark = pytest.mark.process

SHORT_LEASE = timedelta(seconds=3)
#: How much later than the lease's end a delivery may begin anew on a busy machine.
SLACK = timedelta(seconds=10)


@dataclass
class Replicas(Place):
    """A place whose store is on PostgreSQL; every program started here writes to a file of its own."""

    url: str = ""

    @contextmanager
    def store(self) -> Iterator[SqlStore]:
        with closing(SqlStore.open(self.url)) as store:
            yield store

    def replica(self, **settings: str) -> Program:
        number = len(self.programs)
        mine = {
            "routes__0__handlers__0__path": str(self.folder / f"{number}.jsonl"),
            "routes__0__enrich": "false",  # or all of them together ask MPS more often than an account may
        }
        return self.run(**({"store__url": self.url} | mine | settings))

    def handled(self) -> list[list[str]]:
        """The keys of what was handled, by replica."""
        return [
            [line["key"] for line in self.lines(f"{number}.jsonl")] for number in range(len(self.programs))
        ]


@contextmanager
def replicas_on(url: str, folder: Path) -> Iterator[Replicas]:
    with running(Options(queues=(QUEUE,))) as server:
        here = Replicas(folder, server, url=url)
        try:
            yield here
        finally:
            here.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Replicas]:
    with replicas_on(postgres.server().new_store(), tmp_path) as here:
        yield here


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer().start()
    yield server
    server.remove()


def names(count: int, *, prefix: str = "job") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


@pytest.mark.parametrize("count", [2, 4])
def test_replicas_share_the_work_and_each_delivery_is_handled_once(place: Replicas, count: int) -> None:
    place.settings()
    replicas = [place.replica() for _ in range(count)]
    for replica in replicas:
        replica.ready()
    wait_until(lambda: place.asked("BatchReceiveMessage") >= count)
    place.send(*names(200))
    place.send(*names(50))  # copies, which other replicas may get
    wait_until(lambda: place.messages_left() == 0 and place.delivery_states() == {"done": 200})

    assert [replica.stop() for replica in replicas] == [0] * count
    handled = Counter(key for keys in place.handled() for key in keys)
    assert (len(handled), set(handled.values())) == (200, {1})
    assert sum(1 for keys in place.handled() if keys) > 1, "one replica did everything: nothing was proved"


def test_what_a_killed_replica_was_running_another_takes_over_when_its_lease_ends(place: Replicas) -> None:
    started = hang_in(place)
    lease = f"{SHORT_LEASE.total_seconds()}s"
    settings = {"store__url": place.url, "dispatch__lease": lease, "retry__initial_backoff": "0s"}
    replicas = {replica.process.pid: replica for replica in (place.run(**settings) for _ in range(2))}
    for replica in replicas.values():
        replica.ready()
    place.send("job-1")
    wait_until(lambda: has_line(started))
    replicas[owner_of_the_only_one(place)].kill()
    killed_at = datetime.now(UTC)
    (place.folder / "hang").unlink()

    wait_until(lambda: place.delivery_states() == {"done": 1})
    assert datetime.now(UTC) - killed_at < SHORT_LEASE + SLACK
    assert started.read_text().splitlines() == ["job-1:Success:all:python 1", "job-1:Success:all:python 2"]


@pytest.mark.parametrize(
    ("overrun", "started_beside"),
    [pytest.param("10m", [], id="kept"), pytest.param("0s", [2], id="without-overrun-it-is-noticed")],
)
def test_a_handler_beyond_its_timeout_does_not_run_beside_the_next_attempt(
    place: Replicas, overrun: str, started_beside: list[int]
) -> None:
    started = hang_in(place)
    settings = {
        "store__url": place.url,
        "dispatch__lease": f"{SHORT_LEASE.total_seconds()}s",
        "dispatch__handler_timeout": "1s",
        "dispatch__overrun_timeout": overrun,
        "routes__0__enrich": "false",
        "retry__initial_backoff": "0s",
    }
    replicas = [place.run(**settings) for _ in range(2)]
    for replica in replicas:
        replica.ready()
    place.send("job-1")
    wait_until(lambda: any(replica.logs("handler.hung") for replica in replicas))
    first = lease_of_the_only_one(place)
    # Each of these leases would have been enough to rescue the delivery, had it not been renewed.
    wait_until(
        lambda: (
            len(started.read_text().splitlines()) > 1
            or lease_of_the_only_one(place) > first + 2 * SHORT_LEASE
        ),
        seconds=120,
    )
    beside = [int(line.split()[1]) for line in started.read_text().splitlines()[1:]]
    (place.folder / "hang").unlink()

    assert beside == started_beside
    wait_until(lambda: place.delivery_states() == {"done": 1})


def lease_of_the_only_one(place: Replicas) -> datetime:
    with place.store() as store, store.database.read() as connection:
        return connection.scalar(select(deliveries.c.lease_until)) or datetime.min.replace(tzinfo=UTC)


def owner_of_the_only_one(place: Replicas) -> int:
    """The process that has it; owners are called host:pid:nonce."""
    with place.store() as store, store.database.read() as connection:
        owner = connection.scalar(select(deliveries.c.owner))
    return int(str(owner).split(":")[-2])


def test_a_replica_listens_for_what_others_write(place: Replicas) -> None:
    place.settings()
    place.replica().ready()
    wait_until(lambda: listeners(postgres.server(), place.url) == 1)
    with place.store() as store:
        store.record(decoded_messages(20), routes_all(Target("all", "jsonl")), at=datetime.now(UTC))

    wait_until(lambda: place.delivery_states() == {"done": 20})
    assert len(place.handled()[0]) == 20


def listeners(server: PostgresServer, url: str) -> int:
    name = url.partition("@/")[2].partition("?")[0]
    sessions = server.execute(
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND query = 'LISTEN mns_listener_deliveries'"
    )
    return int(sessions[0][0])


@pytest.mark.long
def test_a_server_that_crashes_and_comes_back_loses_and_doubles_nothing(
    fragile: PostgresServer, tmp_path: Path
) -> None:
    url = fragile.new_store()
    with replicas_on(url, tmp_path) as place:
        place.server.call(lambda emulator: emulator.mns.queues.clear())
        place.create_queue(visibility_timeout=1)
        place.settings()
        replicas = [place.replica().ready() for _ in range(2)]
        wait_until(lambda: listeners(fragile, url) == 2)
        place.send(*names(60))
        wait_until(lambda: any(place.handled()))
        fragile.stop(signal.SIGQUIT)
        place.send(*names(60, prefix="later"))
        wait_until(lambda: all(replica.logs("store.unavailable") for replica in replicas))
        fragile.start()

        wait_until(
            lambda: place.messages_left() == 0 and place.delivery_states() == {"done": 120}, seconds=300
        )
        wait_until(lambda: listeners(fragile, url) == 2)
        assert [replica.stop() for replica in replicas] == [0, 0]
        handled = Counter(key for keys in place.handled() for key in keys)
        assert (len(handled), set(handled.values())) == (120, {1})
