"""The daemon as PID 1 of a container. What systemd hears from it: ``tests/process/test_lifecycle.py``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listener.emulator import Options
from listener.emulator.server import RunningEmulator, running
from listener.runtime.orphans import reap_orphans
from tests.support.supervised import QUEUE, a_daemon, write_settings
from tests.support.waiting import is_dead, wait_until

#: As PID 1 of a new PID namespace; --map-root-user is what lets others than root do it.
AS_PID_1 = ("unshare", "--map-root-user", "--fork", "--pid", "--mount-proc", "--kill-child")
TIMEOUT = 90.0


def _can_be_pid_1() -> bool:
    try:
        done = subprocess.run([*AS_PID_1, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture
def emulator() -> Iterator[RunningEmulator]:
    with running(Options(queues=(QUEUE,), job_seconds=0.01)) as emulator:
        yield emulator


@contextmanager
def a_supervisor(folder: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """The socket that systemd would listen at, and what it would put into the environment."""
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(TIMEOUT)
        yield heard, {"NOTIFY_SOCKET": path}


def hear(heard: socket.socket, wanted: str) -> None:
    """Listen until the wanted message comes."""
    while not heard.recv(4096).decode().startswith(wanted):
        pass


@pytest.mark.process
@pytest.mark.skipif(not _can_be_pid_1(), reason="this machine allows no PID namespaces")
def test_as_pid_1_the_daemon_runs_handlers_reaps_orphans_and_stops(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    orphan = "sleep 600 & echo done > handled"  # ended with the program, and then a zombie of the daemon
    handler = f'{{ use = "command", argv = ["sh", "-c", "{orphan}"], cwd = "{tmp_path}" }}'
    settings = write_settings(tmp_path, emulator.url, handler=handler)
    with (
        a_supervisor(tmp_path) as (heard, environment),
        a_daemon(settings, under=AS_PID_1, environment=environment) as unshare,
    ):
        hear(heard, "READY=1")
        emulator.call(lambda there: there.deliver(QUEUE, '{"JobId": "1", "State": "Success"}'))
        wait_until((tmp_path / "handled").exists)
        (daemon,) = children_of(unshare.pid)
        wait_until(lambda: children_of(daemon) == [])
        os.kill(daemon, signal.SIGTERM)

        assert unshare.wait(TIMEOUT) == 0


def children_of(pid: int) -> list[int]:
    """All children, zombies among them."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.process
def test_only_orphans_are_reaped() -> None:
    """As a subreaper, which the orphans of its children come to just as to PID 1, where there is no PID namespace.

    The child that a handler waits for leads its session; what that child leaves behind does not.
    """
    program = textwrap.dedent(
        """
        import ctypes, os, subprocess
        from listener.runtime.orphans import _reaped

        PR_SET_CHILD_SUBREAPER = 36
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        script = "(exec 1>&-; sleep 0.05) & echo $!"
        child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        orphan = int(child.stdout.read())
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
        print(_reaped(child.pid), _reaped(orphan), _reaped(orphan), child.wait(), _reaped(os.getpid()))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (done.stdout.split(), done.stderr) == (["False", "True", "False", "0", "False"], "")


def test_nothing_is_reaped_by_a_process_that_is_not_pid_1() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as child:
        wait_until(lambda: is_dead(child.pid))

        assert reap_orphans() == 0
        assert child.wait() == 0
