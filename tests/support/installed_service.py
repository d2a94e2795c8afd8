"""The shipped units on a machine of their own, installed as their comments say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from listener.emulator import Options
from listener.emulator.server import RunningEmulator, running
from tests.support import ROOT
from tests.support.nspawn import Machine, booted, overlay
from tests.support.waiting import wait_until

QUEUE = "mps-callbacks"
PROGRAM = "/opt/mns-listener/bin/mns-listener"
NOTIFY_URL = f"mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/{QUEUE}"
#: For what a service does within moments, on a machine that is ten times slower than usual.
BOUND = 120.0


@contextmanager
def a_machine() -> Iterator[Machine]:
    """Booted, with the package in /opt/mns-listener and both units."""
    with overlay() as root:
        source = root / "opt/source"
        for name in ("listener", "handlers", "container/locks"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, source)
        for unit in (ROOT / "systemd").glob("*.service"):
            shutil.copy2(unit, root / "etc/systemd/system")
        shutil.rmtree(root / "opt/mns-listener", ignore_errors=True)
        with booted(root) as machine:
            _install(machine)
            yield machine


def _install(machine: Machine) -> None:
    """From the locks; a Python below /root would be hidden from the service by ProtectHome."""
    machine.run("/usr/bin/python3", "-m", "venv", "/opt/mns-listener")
    pip = ["/opt/mns-listener/bin/python", "-m", "pip", "install", "--quiet", "--no-build-isolation"]
    for lock in ("build", "runtime"):
        machine.run(*pip, "--require-hashes", "-r", f"/opt/source/container/locks/{lock}.txt")
    machine.run(*pip, "--no-index", "--no-deps", "/opt/source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One unit, with an emulator in this process instead of MNS and MPS."""

    machine: Machine
    emulator: RunningEmulator
    unit: str = "mns-listener"
    settings_folder: str = "etc/mns-listener"
    state_folder: str = "var/lib/private/mns-listener"
    queue: str = QUEUE

    def install(self, routes: str = "", *, secret: str = "testKeySecret") -> None:
        """The example's settings, key and environment; ``routes`` replaces those of the example."""
        example = (ROOT / "systemd/listener.toml").read_text("utf-8")
        if routes:
            example = example.partition("[[routes]]")[0] + routes
        self.write("listener.toml", example)
        self.write("credentials/access-key-id", "testKeyId", mode=0o600)
        self.write("credentials/access-key-secret", secret, mode=0o600)
        self.write("environment", "".join(f"{name}={value}\n" for name, value in self.variables.items()))

    @property
    def variables(self) -> dict[str, str]:
        """The settings that name the emulator."""
        return {
            "MNS_LISTENER_QUEUES__0__ENDPOINT": self.emulator.url,
            "MNS_LISTENER_QUEUES__0__QUEUE": self.queue,
            "MNS_LISTENER_MPS__ENDPOINT": self.emulator.url,
        }

    def write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        path = self.machine.root / self.settings_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(mode)

    @property
    def state(self) -> Path:
        return self.machine.root / self.state_folder

    def control(self, verb: str, *options: str) -> None:
        self.machine.run("systemctl", verb, *options, self.unit)

    def start(self) -> None:
        """Returns once systemd has heard READY=1."""
        self.control("start")

    def property(self, name: str) -> str:
        return self.machine.properties(self.unit, name)[name]

    def main_pid(self) -> str:
        return self.property("MainPID")

    def wait_for(self, name: str, value: str, *, seconds: float = BOUND) -> None:
        wait_until(lambda: self.property(name) == value, seconds=seconds)

    def send(self, *job_ids: str) -> None:
        """Callbacks of these jobs."""
        for job_id in job_ids:
            body = json.dumps({"JobId": job_id, "State": "Success", "Type": "IProduction"})
            assert self.emulator.call(lambda there, body=body: there.deliver(self.queue, body))

    def handled(self, name: str = "results.jsonl") -> list[str]:
        """The jobs in the file that a jsonl handler writes."""
        path = self.state / name
        return [json.loads(line)["job_id"] for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_results(self, *job_ids: str, name: str = "results.jsonl") -> None:
        wait_until(lambda: sorted(self.handled(name)) == sorted(job_ids), seconds=BOUND)

    def events(self, name: str) -> list[dict[str, object]]:
        """What it has logged so far."""
        lines = [line for line in self.machine.journal(self.unit).splitlines() if line.startswith("{")]
        return [event for line in lines if (event := json.loads(line))["event"] == name]

    def remove(self) -> None:
        """Stop it and forget everything about it."""
        self.machine.run("systemctl", "stop", self.unit, check=False)
        self.machine.run("systemctl", "reset-failed", self.unit, check=False)
        self.machine.run("journalctl", "--rotate", "--vacuum-time=1us", "--quiet")
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.machine.root / self.settings_folder, ignore_errors=True)


@contextmanager
def a_service(machine: Machine) -> Iterator[Service]:
    """The unit mns-listener, not started yet; removed at the end."""
    with running(Options(queues=(QUEUE,), job_seconds=0.01)) as emulator:
        service = Service(machine=machine, emulator=emulator)
        try:
            yield service
        finally:
            service.remove()


@contextmanager
def an_instance(machine: Machine, name: str, emulator: RunningEmulator) -> Iterator[Service]:
    """The unit mns-listener@NAME, for the queue NAME."""
    service = Service(
        machine=machine,
        emulator=emulator,
        unit=f"mns-listener@{name}",
        settings_folder=f"etc/mns-listener/{name}",
        state_folder=f"var/lib/private/mns-listener-{name}",
        queue=name,
    )
    try:
        yield service
    finally:
        service.remove()
