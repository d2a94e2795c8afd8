"""A machine with a real systemd as PID 1: systemd-nspawn on an overlay of this machine's own root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.mounts import in_memory, mounted
from tests.support.waiting import wait_until

#: A booting machine, and a unit that starts, on a machine that is ten times slower than usual.
BOOTED = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Shares the network of the host; everything that is written in it goes with it."""

    root: Path  #: its files, also before it is booted
    init: int  #: its PID 1, as the host numbers it

    def run(self, *command: str, check: bool = True, **environment: str) -> str:
        """Run a command as its root; returns its standard output."""
        inside = [
            "nsenter",
            f"--target={self.init}",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
        ]
        return _run([*inside, *command], check=check, environment=environment)

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What ``systemctl show`` says about a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit: str) -> str:
        return self.run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager")


def _run(command: Sequence[str], *, check: bool, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    failure = f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert not check or done.returncode == 0, failure
    return done.stdout


@contextmanager
def overlay() -> Iterator[Path]:
    """The host's files, without its enabled units and its identity; changes are kept in memory."""
    with in_memory() as place:
        root = place / "root"
        for name in ("upper", "work", "root"):
            (place / name).mkdir()
        options = f"lowerdir=/,upperdir={place}/upper,workdir={place}/work"
        with mounted("-t", "overlay", "-o", options, "overlay", place=root):
            (root / "etc/machine-id").write_text("")
            for wants in (root / "etc/systemd/system").glob("*.wants"):
                shutil.rmtree(wants)
            yield root


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Boot it as far as basic.target; its end is as sudden as a power failure."""
    command = [
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no", "--keep-unit"),
        *("--resolv-conf=off", "--console=pipe", "--link-journal=no", "systemd.unit=basic.target"),
    ]
    with subprocess.Popen(
        command,
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as nspawn:
        try:
            machine = Machine(root=root, init=_init_of(nspawn))
            wait_until(lambda: _is_booted(machine), seconds=BOOTED)
            yield machine
            os.kill(machine.init, 9)
        finally:
            nspawn.kill()


def _init_of(nspawn: subprocess.Popen[bytes]) -> int:
    """The child of systemd-nspawn that has become PID 1 of a namespace of its own."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")

    def inits() -> list[int]:
        assert nspawn.poll() is None, f"systemd-nspawn ended with {nspawn.returncode}"
        return [int(pid) for pid in children.read_text().split() if _is_init(int(pid))]

    wait_until(lambda: bool(inits()), seconds=BOOTED)
    return inits()[0]


def _is_init(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "systemd\n"
    except OSError:
        return False


def _is_booted(machine: Machine) -> bool:
    return machine.run("systemctl", "is-active", "basic.target", check=False).strip() == "active"
