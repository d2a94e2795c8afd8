"""The shipped units, unmodified, under a real systemd."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from listener.emulator import Options
from listener.emulator.server import running
from tests.support.installed_service import BOUND, PROGRAM, Service, a_machine, a_service, an_instance
from tests.support.nspawn import Machine
from tests.support.waiting import wait_until

#: A store that another program locks; longer than twice the unit's WatchdogSec.
LOCKED_SECONDS = 150.0
#: WatchdogSec, TimeoutAbortSec and RestartSec of the unit, with room for a busy machine.
WATCHDOG_SECONDS = 300.0

TO_OTHER_FILE = """\
[[routes]]
name = "everything"
handlers = [{ use = "jsonl", path = "/var/lib/mns-listener/other.jsonl" }]
"""
WAITING = """\
[[routes]]
name = "everything"
handlers = [{ use = "command", argv = [
    "/bin/sh", "-c", "touch started; until [ -e go ]; do sleep 0.1; done; echo done >> finished",
] }]
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with a_machine() as machine:
        yield machine


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    with a_service(machine) as service:
        yield service


@pytest.fixture
def started(service: Service) -> Service:
    service.install()
    service.start()
    return service


@pytest.mark.parametrize("unit", ["mns-listener.service", "mns-listener@one.service"])
def test_systemd_understands_every_line(machine: Machine, unit: str) -> None:
    assert machine.run("sh", "-c", f"systemd-analyze verify --man=no {unit} 2>&1") == ""


def test_a_job_that_root_submits_reaches_its_handler(started: Service) -> None:
    assert started.property("StatusText") == "polling"
    submitted = started.machine.run(
        *(PROGRAM, "submit", "Cover", "--json", "-c", "/etc/mns-listener/listener.toml"),
        *("--input", "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"),
        *("--output", "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg"),
        ALIBABA_CLOUD_ACCESS_KEY_ID="testKeyId",
        ALIBABA_CLOUD_ACCESS_KEY_SECRET="testKeySecret",
        **started.variables,
    )

    started.wait_for_results(json.loads(submitted)["job_id"])


def test_after_kill_9_systemd_restarts_it_and_nothing_is_missing(started: Service) -> None:
    started.send("before")
    started.wait_for_results("before")
    started.control("kill", "--kill-whom=main", "--signal=KILL")
    started.send("after")

    started.wait_for("NRestarts", "1")
    started.wait_for_results("before", "after")
    started.wait_for("ActiveState", "active")


def test_the_watchdog_restarts_a_process_whose_loops_all_stand_still(started: Service) -> None:
    stopped = started.main_pid()
    started.control("kill", "--kill-whom=main", "--signal=STOP")
    started.send("meanwhile")

    started.wait_for("NRestarts", "1", seconds=WATCHDOG_SECONDS)
    started.wait_for_results("meanwhile")
    assert "Watchdog timeout" in started.machine.journal(started.unit)
    assert started.main_pid() != stopped


def test_a_store_that_is_locked_for_long_is_no_reason_for_the_watchdog(started: Service) -> None:
    """Fails if the watchdog counts waiting for the store as a stall: a restart helps nothing, and costs attempts."""
    pid = started.main_pid()
    with closing(sqlite3.connect(started.state / "listener.db", isolation_level=None)) as store:
        store.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        started.send("meanwhile")
        wait_until(
            lambda: started.main_pid() != pid or time.monotonic() - began > LOCKED_SECONDS,
            seconds=LOCKED_SECONDS + BOUND,
        )
        assert started.main_pid() == pid, started.machine.journal(started.unit)
        store.execute("ROLLBACK")

    started.wait_for_results("meanwhile")
    assert (started.main_pid(), started.property("NRestarts")) == (pid, "0")


def test_settings_that_cannot_work_end_with_78_and_no_restart(service: Service) -> None:
    service.install(routes='[[routes]]\nname = "all"\nhandlers = [{ use = "nothing" }]\n')
    service.machine.run("systemctl", "start", service.unit, check=False)

    assert service.machine.properties(
        service.unit, "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts"
    ) == {
        "ActiveState": "failed",
        "SubState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }


def test_reload_takes_new_routes_without_a_restart(started: Service) -> None:
    pid = started.main_pid()
    started.install(routes=TO_OTHER_FILE)
    started.control("reload")
    wait_until(lambda: len(started.events("settings.reloaded")) == 1, seconds=BOUND)
    started.send("one")

    started.wait_for_results("one", name="other.jsonl")
    assert started.handled() == []
    assert started.main_pid() == pid


def test_stop_lets_a_handler_in_flight_finish(service: Service) -> None:
    service.install(routes=WAITING)
    service.start()
    service.send("one")
    wait_until((service.state / "started").exists, seconds=BOUND)
    service.control("stop", "--no-block")
    wait_until(lambda: bool(service.events("listener.stopping")), seconds=BOUND)
    (service.state / "go").touch()

    service.wait_for("ActiveState", "inactive")
    assert (service.state / "finished").read_text() == "done\n"
    assert (service.property("Result"), service.property("ExecMainStatus")) == ("success", "0")
    with closing(sqlite3.connect(service.state / "listener.db")) as store:
        assert store.execute("SELECT state FROM deliveries").fetchall() == [("done",)]


def test_the_key_comes_from_credentials_that_only_the_service_reads(started: Service) -> None:
    started.send("one")
    started.wait_for_results("one")
    pid = started.main_pid()
    environment = started.machine.run("cat", f"/proc/{pid}/environ").split("\0")
    folders = [line.partition("=")[2] for line in environment if line.startswith("CREDENTIALS_DIRECTORY=")]
    files = [line for line in environment if line.startswith("MNS_LISTENER_CREDENTIALS__")]
    user = started.machine.run("stat", "--format=%U", f"/proc/{pid}").strip()
    modes = started.machine.run("stat", "--format=%a", f"{folders[0]}/access-key-secret").strip()

    assert user != "root"
    assert len(files) == 2
    assert [line for line in files if f"={folders[0]}/" not in line] == []
    assert modes in ("400", "440")
    assert [line for line in environment if "testKeySecret" in line] == []


def test_a_wrong_key_in_the_credentials_is_noticed(service: Service) -> None:
    """Else the test above would pass with a key from anywhere."""
    service.install(secret="another")
    service.start()

    wait_until(lambda: bool(service.events("queue.unavailable")), seconds=BOUND)


def test_instances_of_the_template_have_users_stores_and_sockets_of_their_own(machine: Machine) -> None:
    names = ("east", "west")
    with (
        running(Options(queues=names)) as emulator,
        an_instance(machine, "east", emulator) as east,
        an_instance(machine, "west", emulator) as west,
    ):
        for instance in (east, west):
            instance.install(routes=results_in(instance))
            instance.write("listener.toml", with_own_paths(instance))
            instance.start()
            instance.send(f"of-{instance.queue}")
        for instance in (east, west):
            instance.wait_for_results(f"of-{instance.queue}")
        owners = {machine.run("stat", "--format=%U", f"/proc/{each.main_pid()}") for each in (east, west)}
        sockets = [
            machine.run("stat", "--format=%F", f"/run/mns-listener-{name}/http.sock") for name in names
        ]

    assert len(owners) == 2
    assert sockets == ["socket\n", "socket\n"]


def results_in(instance: Service) -> str:
    path = Path("/var/lib") / f"mns-listener-{instance.queue}" / "results.jsonl"
    return f'[[routes]]\nname = "all"\nhandlers = [{{ use = "jsonl", path = "{path}" }}]\n'


def with_own_paths(instance: Service) -> str:
    """The example's settings as the template's comment says: with the state folder of the instance."""
    text = (instance.machine.root / instance.settings_folder / "listener.toml").read_text("utf-8")
    return text.replace("/var/lib/mns-listener/", f"/var/lib/mns-listener-{instance.queue}/")
