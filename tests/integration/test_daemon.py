"""A daemon opens nothing before it starts, and a start that fails leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from listener import __version__
from listener.core.errors import AddressInUse, ListenerError, SettingsError, StoreUnavailable
from listener.daemon.daemon import Daemon
from listener.emulator import Options
from listener.emulator.server import RunningEmulator, running
from listener.runtime.liveness import Heartbeat, LivenessMonitor
from listener.settings.loader import load
from listener.settings.sections import DispatchSettings, Settings
from tests.support.noting import imported_noting, install_noting
from tests.support.program import QUEUE, Place, unused_endpoint
from tests.support.sqlite import new_sqlite
from tests.support.waiting import wait_until

SETTINGS = """
[store]
url = "sqlite:///{folder}/listener.db"
[http]
listen = "127.0.0.1:{port}"
allowed_hosts = ["listener.internal"]
[correlation]
wait = "0s"
[service]
shutdown_timeout = "5s"
[tenants.one]
mps = {{ endpoint = "{mps}" }}
credentials = {{ access_key_id_file = "{folder}/{key}", access_key_secret_file = "{folder}/secret" }}
[[queues]]
endpoint = "{endpoint}"
queue = "mps-callbacks"
tenant = "one"
[[routes]]
name = "all"
enrich = false
handlers = [
  {{ use = "noting", name = "one", label = "one" }},
  {{ use = "noting", name = "two", label = "{label}" }},
]
"""
#: Held from now on: tests compare what is open before and after.
PORT = int(unused_endpoint().rpartition(":")[2])
#: What must not happen while a Daemon is constructed, by the names of Python's audit events.
IO_EVENTS = ("open", "os.", "socket.", "sqlite3.", "subprocess.", "_thread.start", "import")
CONSTRUCT = """
import sys
from pathlib import Path
from listener.daemon.daemon import Daemon
from listener.settings.loader import load

settings = load(Path(sys.argv[1]).read_text(), {})
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)))
daemon = Daemon(settings)
found = [each for each in seen if each[0].startswith(tuple(sys.argv[2:]))]
sys.exit(f"constructing a Daemon did {found}" if found else 0)
"""


def text_of(folder: Path, **changes: Any) -> str:
    values: dict[str, Any] = {
        "folder": folder,
        "port": PORT,
        "mps": "http://127.0.0.1:9",
        "key": "id",
        "endpoint": "http://127.0.0.1:9",
        "label": "two",
    }
    return SETTINGS.format(**values | changes)


class Opened:
    """What this process has opened and started since then, and not closed or ended."""

    def __init__(self) -> None:
        self._before = self._now()

    def left(self) -> set[object]:
        return self._now() - self._before

    def _now(self) -> set[object]:
        return {*_open_files(), *threading.enumerate()}


def _open_files() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            pass  # the one that listed the folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with keys and an empty store, and the package ``noting`` installed."""
    install_noting(monkeypatch, tmp_path)
    (tmp_path / "id").write_text("testKeyId")
    (tmp_path / "secret").write_text("testKeySecret")
    new_sqlite(tmp_path / "listener.db")
    return tmp_path


def take_port(folder: Path) -> tuple[Settings, socket.socket]:
    taken = socket.create_server(("127.0.0.1", 0))
    return load(text_of(folder, port=taken.getsockname()[1]), {}), taken


def no_database(folder: Path) -> None:
    (folder / "listener.db").write_text("some text, and certainly not a database " * 20)


def test_constructing_a_daemon_does_no_io(folder: Path) -> None:
    (folder / "listener.db").unlink()
    path = folder / "listener.toml"
    path.write_text(text_of(folder))
    program = [sys.executable, "-c", CONSTRUCT, str(path), *IO_EVENTS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()])}
    found = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert (found.returncode, found.stderr) == (0, "")
    assert not (folder / "listener.db").exists()


def test_constructing_a_daemon_needs_nothing_that_a_start_needs(folder: Path) -> None:
    no_database(folder)
    changes = {"mps": "nonsense", "key": "no-such-file", "endpoint": "http://h:port", "label": "broken"}
    opened = Opened()
    Daemon(load(text_of(folder, **changes), {}))

    assert opened.left() == set()
    assert "noting" not in sys.modules


def test_a_taken_port_fails_the_start_before_anything_else(folder: Path) -> None:
    (folder / "listener.db").unlink()
    settings, taken = take_port(folder)
    with taken:
        opened = Opened()
        with pytest.raises(AddressInUse, match="Address already in use"):
            Daemon(settings).start()

        assert opened.left() == set()
    assert "noting" not in sys.modules
    assert not (folder / "listener.db").exists()


@pytest.mark.parametrize(
    ("changes", "prepare", "error", "words"),
    [
        pytest.param({"label": "broken"}, None, SettingsError, "broken on purpose", id="handlers"),
        pytest.param({}, no_database, StoreUnavailable, "not a database", id="store"),
        pytest.param({"mps": "nonsense"}, None, SettingsError, "mps.endpoint", id="tenant-endpoint"),
        pytest.param({"key": "missing"}, None, SettingsError, "access_key_id_file", id="access-key"),
        pytest.param({"endpoint": "http://h:port"}, None, SettingsError, "endpoint", id="queue-endpoint"),
    ],
)
def test_a_start_that_fails_closes_what_it_opened(
    folder: Path,
    changes: dict[str, str],
    prepare: Callable[[Path], None] | None,
    error: type[ListenerError],
    words: str,
) -> None:
    if prepare:
        prepare(folder)
    daemon = Daemon(load(text_of(folder, **changes), {}))
    opened = Opened()
    with pytest.raises(error, match=words), capture_logs() as logs:
        daemon.start()

    events = imported_noting().events
    assert opened.left() == set()
    assert [event for event in events if event.startswith("closed")] == [
        event.replace("built", "closed") for event in events if event.startswith("built")
    ]
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert daemon.stop() == {"unfinished": 0}


@pytest.mark.parametrize("name", ["settler", "worker-1", "claims", "housekeeping", "poller", "http"])
def test_a_start_that_gets_no_more_threads_ends_those_that_it_has_started(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse_one(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError(f"can't start new thread {name}")
        start(thread)

    daemon = Daemon(load(text_of(folder), {}))
    opened = Opened()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse_one)
        with pytest.raises(RuntimeError, match=f"can't start new thread {name}"), capture_logs():
            daemon.start()

    wait_until(lambda: not opened.left())  # some threads are asked to stop, but not waited for
    assert imported_noting().events == ["built one", "built two", "closed one", "closed two"]
    assert daemon.stop() == {"unfinished": 0}


def test_the_errors_of_closing_do_not_hide_the_first_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from listener.store.sql_store import SqlStore

    close = SqlStore.close

    def close_and_fail(store: SqlStore) -> None:
        close(store)
        raise OSError("the disk is gone")

    monkeypatch.setattr(SqlStore, "close", close_and_fail)
    opened = Opened()
    with capture_logs() as logs, pytest.raises(SettingsError, match=r"mps\.endpoint"):
        Daemon(load(text_of(folder, mps="nonsense"), {})).start()

    assert opened.left() == set()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["start.cleanup_failed"]


def test_a_stop_without_a_start_does_nothing(folder: Path) -> None:
    assert Daemon(load(text_of(folder), {})).stop() == {"unfinished": 0}
    assert "noting" not in sys.modules


@pytest.fixture
def server() -> Iterator[RunningEmulator]:
    options = Options(queues=(QUEUE,), access_key_id="testKeyId", access_key_secret="testKeySecret")
    with running(options) as server:
        yield server


@pytest.fixture
def settings(folder: Path, server: RunningEmulator) -> Settings:
    return load(text_of(folder, endpoint=server.url), {})


@pytest.fixture
def daemon(settings: Settings) -> Iterator[Daemon]:
    daemon = Daemon(settings)
    daemon.start()
    yield daemon
    imported_noting().may_return.set()
    daemon.stop()


def test_requests_for_other_hosts_are_refused(daemon: Daemon, settings: Settings) -> None:
    url = f"http://{settings.http.listen}/metrics"

    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"host": "attacker.example"}).status_code == 403
    assert httpx.get(url, headers={"host": "listener.internal"}).status_code == 200


def test_every_series_is_there_at_the_start_and_those_of_new_routes_after_a_reload(
    daemon: Daemon, settings: Settings
) -> None:
    """An alert on an increase would miss the first event of a series that appears with it."""

    def series(route: str, handler: str) -> set[str]:
        shown = daemon.metrics.exposition().decode().splitlines()
        labels = f'{{handler="{handler}",outcome="dead",route="{route}"}}'
        return {line for line in shown if line.startswith(f"mns_listener_delivery_attempts_total{labels}")}

    assert len(series("all", "one")) == len(series("all", "two")) == 1
    parked = 'mns_listener_results_total{kind="parked",queue="mps-callbacks"} 0.0'
    assert parked in daemon.metrics.exposition().decode().splitlines()

    (route,) = settings.routes
    renamed = route.model_copy(update={"name": "renamed"})
    assert series("renamed", "one") == set()
    daemon.reload(settings.model_copy(update={"routes": (renamed,)}))
    assert len(series("renamed", "one")) == len(series("renamed", "two")) == 1


def test_gauges_show_the_store_and_the_queues_with_their_age(daemon: Daemon, settings: Settings) -> None:
    url = f"http://{settings.http.listen}/metrics"

    def shown() -> dict[str, float]:
        lines = [line.rpartition(" ") for line in httpx.get(url).text.splitlines() if line[0] != "#"]
        return {name.removeprefix("mns_listener_"): float(number) for name, _, number in lines}

    wait_until(lambda: 'deliveries{state="pending"}' in shown())
    gauges = shown()
    assert gauges['deliveries{state="pending"}'] == gauges['open_results{status="parked"}'] == 0
    assert gauges["store_size_bytes"] > 0
    assert gauges['pollers{queue="mps-callbacks"}'] == 1
    assert 0 <= gauges["statistics_age_seconds"] < 60
    assert 0 <= gauges['last_receive_age_seconds{queue="mps-callbacks"}'] < 60
    assert f'version="{__version__}"' in next(name for name in gauges if name.startswith("build_info"))


class TestStop:
    def test_nothing_is_left_and_a_second_stop_does_nothing(self, settings: Settings) -> None:
        daemon = Daemon(settings)
        opened = Opened()
        daemon.start()
        wait_until(lambda: daemon.ready().ok)

        assert daemon.stop() == daemon.stop() == {"unfinished": 0}
        wait_until(lambda: not opened.left())
        assert imported_noting().events[-2:] == ["closed one", "closed two"]

    def test_health_is_answered_until_handlers_have_finished(
        self, daemon: Daemon, settings: Settings, folder: Path, server: RunningEmulator
    ) -> None:
        noting = imported_noting()
        noting.may_return.clear()
        Place(folder, server).send("1" * 32)
        assert noting.began.wait(30)
        stopper = threading.Thread(target=daemon.stop, daemon=True)
        stopper.start()
        with httpx.Client(base_url=f"http://{settings.http.listen}", timeout=60) as client:
            wait_until(lambda: client.get("/readyz").json()["stopping"])
            ready, alive = client.get("/readyz"), client.get("/healthz")
        noting.may_return.set()
        stopper.join(30)

        assert (ready.status_code, alive.status_code) == (503, 200)
        assert not stopper.is_alive()


def with_handlers(settings: Settings, **options: Any) -> Settings:
    """These settings, with further options for every handler."""
    routes = [
        route.model_copy(update={"handlers": tuple(one.model_copy(update=options) for one in route.handlers)})
        for route in settings.routes
    ]
    return settings.model_copy(update={"routes": tuple(routes)})


class TestReload:
    def test_fifty_reloads_keep_unchanged_handlers(self, daemon: Daemon, settings: Settings) -> None:
        events = imported_noting().events
        for _reload in range(50):
            assert daemon.reload(settings) == []
        daemon.stop()

        assert events == ["built one", "built two", "closed one", "closed two"]

    def test_fifty_changes_leave_one_generation_of_handlers(self, daemon: Daemon, settings: Settings) -> None:
        events = imported_noting().events
        for number in range(50):
            assert daemon.reload(with_handlers(settings, extra=number)) == []

        wait_until(lambda: events.count("closed two") == 50)
        assert events.count("built two") == 51

        daemon.stop()
        assert events.count("closed one") == events.count("closed two") == 51

    def test_a_running_handler_is_closed_when_it_returns(
        self, daemon: Daemon, settings: Settings, folder: Path, server: RunningEmulator
    ) -> None:
        noting = imported_noting()
        noting.may_return.clear()
        Place(folder, server).send("1" * 32)
        assert noting.began.wait(30)

        daemon.reload(with_handlers(settings, extra=1))
        assert "closed one" not in noting.events

        noting.may_return.set()
        wait_until(lambda: "closed one" in noting.events)
        assert noting.events.index("returned one") < noting.events.index("closed one")

    def test_a_reload_that_fails_changes_nothing(self, daemon: Daemon, folder: Path) -> None:
        events = imported_noting().events
        with pytest.raises(SettingsError, match="broken on purpose"):
            daemon.reload(load(text_of(folder, label="broken"), {}))

        assert events == ["built one", "built two"]
        wait_until(lambda: daemon.ready().ok)

    def test_sections_that_are_not_reloaded_are_reported(self, daemon: Daemon, settings: Settings) -> None:
        new = settings.model_copy(update={"log": settings.log.model_copy(update={"format": "console"})})

        assert [daemon.reload(new) for _reload in range(2)] == [["log"], ["log"]]


def test_every_loop_has_a_heartbeat(folder: Path) -> None:
    daemon = Daemon(load(text_of(folder), {}))
    daemon.liveness = liveness = NotingMonitor()
    daemon.start()
    daemon.stop()

    loops = {"poll mps-callbacks", "claim", "settle", "housekeeping", "prune", "statistics"}
    loops |= {"reconcile", "reconcile one", "verify", "verify one"}
    loops.add("submit one")  # of tenants with MPS alone
    workers = {f"worker-{number}" for number in range(DispatchSettings().concurrency)}
    assert liveness.names == loops | workers


class NotingMonitor(LivenessMonitor):
    """It notes for which loops there are heartbeats."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def heartbeat(self, name: str, *, limit: timedelta) -> Heartbeat:
        self.names.add(name)
        return super().heartbeat(name, limit=limit)
