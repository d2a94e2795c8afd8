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
from tests.support.supervised import QUEUE, a_daemon, children_of, write_settings
from tests.support.waiting import has_line, wait_until

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
    ended_with_it, detached = "sleep 600 &", "setsid sh -c '(sleep 0.1; exec setsid touch orphan) &'"
    program = f"{ended_with_it} {detached}; echo done > handled"
    handler = f'{{ use = "command", argv = ["sh", "-c", "{program}"], cwd = "{tmp_path}" }}'
    settings = write_settings(tmp_path, emulator.url, handler=handler)
    with (
        a_supervisor(tmp_path) as (heard, environment),
        a_daemon(settings, under=AS_PID_1, environment=environment) as unshare,
    ):
        # Before it is ready, so that the orphan comes while the daemon starts.
        emulator.call(lambda there: there.deliver(QUEUE, '{"JobId": "1", "State": "Success"}'))
        hear(heard, "READY=1")
        wait_until((tmp_path / "handled").exists)
        wait_until((tmp_path / "orphan").exists)
        (daemon,) = children_of(unshare.pid)
        wait_until(lambda: children_of(daemon) == [])
        os.kill(daemon, signal.SIGTERM)

        assert unshare.wait(TIMEOUT) == 0


@pytest.mark.process
@pytest.mark.skipif(not _can_be_pid_1(), reason="this machine allows no PID namespaces")
def test_as_pid_1_the_daemon_leaves_alone_what_a_handler_started_when_it_was_loaded(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    (tmp_path / "helped.py").write_text(
        textwrap.dedent(
            """
            import subprocess
            from pathlib import Path

            helper = subprocess.Popen(["sh", "-c", "exit 3"], start_new_session=True)

            def handle(result):
                Path("handled").write_text(f"{helper.wait()}\\n")
            """
        ),
        "utf-8",
    )
    settings = write_settings(
        tmp_path, emulator.url, handler='{ use = "python", callable = "helped:handle" }'
    )
    with (
        a_supervisor(tmp_path) as (heard, environment),
        a_daemon(settings, under=AS_PID_1, environment=environment | {"WATCHDOG_USEC": "2000000"}),
    ):
        for _ in range(3):  # it has looked for orphans twice in between
            hear(heard, "WATCHDOG=1")
        emulator.call(lambda there: there.deliver(QUEUE, '{"JobId": "1", "State": "Success"}'))
        wait_until(lambda: has_line(tmp_path / "handled"))

    assert (tmp_path / "handled").read_text("utf-8") == "3\n"


@pytest.mark.process
def test_only_orphans_are_reaped() -> None:
    """As a subreaper, which the orphans of its children come to just as to PID 1, where there is no PID namespace.

    All lead sessions of their own, and have ended: what a program left behind, which is reaped at the second look, that
    program itself, which a thread of a handler has started, what handlers have started when they were built, and what a
    thread has started that has ended since, while another one waits for it.
    """
    program = textwrap.dedent(
        """
        import ctypes, os, subprocess
        from concurrent.futures import ThreadPoolExecutor
        from listener.runtime import orphans

        def started(script):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            return subprocess.Popen(["sh", "-c", script], **pipes, start_new_session=True)

        def started_by_another_thread(script):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(started, script).result()

        PR_SET_CHILD_SUBREAPER = 36
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        orphans.is_init = lambda: True
        with orphans.may_start_processes():
            helper = started("exit 3")
        with ThreadPoolExecutor(1) as pool:
            child = pool.submit(started, "setsid sh -c 'exec 1>&-; sleep 0.05' & echo $!; exit 4").result()
            orphan = int(child.stdout.read())
            for ended in (helper.pid, child.pid, orphan):
                os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
            inherited = started_by_another_thread("read line; exit 5")
            print(orphans.reap_orphans(), os.path.exists(f"/proc/{orphan}"))
            status = pool.submit(inherited.wait)
            inherited.stdin.close()
            print(status.result(), orphans.reap_orphans(), os.path.exists(f"/proc/{orphan}"), orphans.reap_orphans())
            print(child.wait(), helper.wait())
        """
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (done.stdout.split(), done.stderr) == (["0", "True", "5", "1", "False", "0", "4", "3"], "")
