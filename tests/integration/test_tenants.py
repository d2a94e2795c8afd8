"""Two accounts in one daemon: keys, regions and queues of their own, and one's trouble is not the other's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.client import Client
from listener.core import clock
from listener.core.errors import MpsUnavailable, SettingsError
from listener.core.model import Claim, JobState
from listener.daemon.daemon import Daemon
from listener.emulator import Fault, FaultKind, Options
from listener.emulator.server import RunningEmulator, running
from listener.jobs.request import JobRequest
from listener.settings.loader import load
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore
from tests.support.builders import decoded_messages, routes_all
from tests.support.sqlite import new_sqlite, new_sqlite_store
from tests.support.stores import count, deliveries, jobs
from tests.support.waiting import wait_until

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
NOTIFY = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues"
SETTINGS = """
[store]
url = "sqlite:///{folder}/store.db"
[http]
listen = ""
[correlation]
wait = "0s"
[reconcile]
interval = "100ms"
[service]
shutdown_timeout = "5s"
{tenants}
[[routes]]
name = "all"
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""
TENANT = """
[tenants.{name}]
mps = {{ endpoint = "{url}", notify_url = "{notify}/{name}" }}
credentials = {{ access_key_id_file = "{folder}/{name}.id", access_key_secret_file = "{folder}/{name}.secret" }}
[[queues]]
endpoint = "{url}"
queue = "{name}"
tenant = "{name}"
wait = "1s"
"""


#: The one delivery that there is, 100,000 times in all.
MANY_MORE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
INSERT INTO deliveries (result, queue, route, handler, state, attempt, failures, next_at, created_at)
SELECT result, queue, route || i, handler, state, attempt, failures, next_at, created_at FROM deliveries, n
"""


class Two:
    """The tenants ``one`` and ``other`` with an emulator each, and a daemon for both."""

    def __init__(self, folder: Path, servers: dict[str, RunningEmulator]) -> None:
        self.folder = folder
        self.servers = servers
        new_sqlite(folder / "store.db")
        for name in servers:
            (folder / f"{name}.id").write_text(f"{name}KeyId")
            (folder / f"{name}.secret").write_text(f"{name}KeySecret")

    @property
    def settings(self) -> Settings:
        tenants = "".join(
            TENANT.format(name=name, url=server.url, notify=NOTIFY, folder=self.folder)
            for name, server in self.servers.items()
        )
        return load(SETTINGS.format(folder=self.folder, tenants=tenants), {})

    def submit(self, name: str, **fields: Any) -> str:
        request = {"function": "VideoH2V", "input": INPUT, "notify_url": f"{NOTIFY}/{name}"}
        with closing(Client(self.settings)) as client:
            warnings: list[str] = []
            job = client.submit(JobRequest(**(request | fields)), tenant=name, warn=warnings.append)
        assert len(warnings) == (0 if fields.get("notify_url", "set") else 1)
        return job.job_id

    def strike(self, name: str, **fields: Any) -> None:
        self.servers[name].call(lambda emulator: emulator.faults.add([Fault(**fields)]))

    def happened(self, name: str, kind: FaultKind) -> int:
        return self.servers[name].call(lambda emulator: emulator.faults.happened(kind))

    def handled(self) -> str:
        path = self.folder / "results.jsonl"
        return path.read_text() if path.exists() else ""

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        daemon = Daemon(self.settings)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    def options(name: str) -> Options:
        keys = {"access_key_id": f"{name}KeyId", "access_key_secret": f"{name}KeySecret"}
        return Options(job_seconds=0, queues=(name,), **keys)

    with running(options("one")) as one, running(options("other")) as other:
        yield Two(tmp_path, {"one": one, "other": other})


def test_each_job_goes_to_its_tenants_account_and_comes_back_from_its_queue(two: Two) -> None:
    ids = {two.submit(name): name for name in two.servers}
    with two.daemon():
        wait_until(lambda: all(job_id in two.handled() for job_id in ids))

    for job_id, name in ids.items():
        at_home = two.servers[name].call(lambda emulator: list(emulator.engine.jobs))
        assert at_home == [job_id]
    # Outputs were had with the keys of the right tenant, too.
    results = [json.loads(line) for line in two.handled().splitlines()]
    assert [result["outputs"]["code"] for result in results] == ["Success"] * len(ids)


def test_the_wrong_key_of_one_does_not_hold_up_the_other(two: Two) -> None:
    job_id = two.submit("other")
    (two.folder / "one.secret").write_text("wrong")
    with pytest.raises(MpsUnavailable, match="belong together"):
        two.submit("one")
    with two.daemon() as daemon:
        wait_until(lambda: job_id in two.handled())
        wait_until(lambda: "belong together" in daemon.ready().details["queues"]["one"])

        assert daemon.ready().details["queues"]["other"] == "ok"


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        pytest.param(FaultKind.STALL, "*", id="everything-hangs"),
        pytest.param(FaultKind.THROTTLE, "*", id="everything-is-throttled"),
        pytest.param(FaultKind.ERROR, "QueryIProductionJob", id="mps-is-away"),
    ],
)
def test_trouble_of_one_does_not_hold_up_the_other(two: Two, kind: FaultKind, operation: str) -> None:
    for _ in range(3):
        two.submit("one", notify_url="", force=True, deadline=timedelta(0))
    two.strike("one", kind=kind, operation=operation)
    with two.daemon():
        wait_until(lambda: two.happened("one", kind) > 0)
        before = clock.monotonic()
        called_back = two.submit("other")
        overdue = two.submit("other", notify_url="", force=True, deadline=timedelta(0))
        wait_until(lambda: called_back in two.handled() and overdue in two.handled())

        assert clock.monotonic() - before < 10  # one call that hangs takes 15
    with closing(SqlStore.open(two.settings.store.url)) as store:
        assert count(store, jobs, jobs.c.tenant == "one", jobs.c.state == JobState.SUBMITTED) == 3


def test_a_queue_of_a_tenant_that_is_not_there_stops_the_start(two: Two) -> None:
    text = '[tenants.here]\n[[queues]]\nurl = "mns://a.mns.cn-shanghai.aliyuncs.com/queues/q"\ntenant = "there"\n'

    with pytest.raises(
        SettingsError, match=r"queues\[0\]\.tenant = 'there' is not a known tenant; known: here"
    ):
        load(text, {})


def test_a_wrong_endpoint_of_a_tenant_stops_the_start(two: Two) -> None:
    settings = two.settings.model_copy(
        update={"tenants": load('[tenants.one.mps]\nendpoint = "nonsense"\n[tenants.other]', {}).tenants}
    )

    with pytest.raises(SettingsError, match=r"mps\.endpoint = 'nonsense'"):
        Daemon(settings).start()


def test_a_backlog_of_a_hundred_thousand_leaves_the_other_queue_its_turn(tmp_path: Path) -> None:
    at = clock.now()
    with new_sqlite_store(tmp_path) as store:
        store.record(decoded_messages(1, queue="deep"), routes_all(), at=at)
        with store.database.write() as connection:
            connection.exec_driver_sql(MANY_MORE)
        assert count(store, deliveries) == 100_000
        store.record(decoded_messages(1, queue="shallow"), routes_all(), at=at + timedelta(seconds=1))
        later = at + timedelta(seconds=2)
        claimed = store.claim(Claim(owner="me", until=later, limit=32), at=later)

    assert [delivery.queue for delivery in claimed[:2]] == ["deep", "shallow"]
