"""Run a program for every result: JSON on its standard input, the outcome as its exit code."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from listener import JobResult, Reject, Retry, Unavailable
from listener.formats.durations import PositiveDuration

from .json_encoding import json_bytes

#: From sysexits.h: EX_DATAERR means invalid input, EX_TEMPFAIL a transient failure.
EXIT_REJECT, EXIT_RETRY = 65, 75

#: Not inherited by the program: cloud credentials, our settings (with a database password), the systemd socket.
_WITHHELD = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_", "MNS_LISTENER_", "NOTIFY_SOCKET", "WATCHDOG_")
_KILL_TIMEOUT = timedelta(seconds=5)
_TAIL_BYTES = 2048
_POLL_INTERVAL = 0.05


def command(
    *,
    argv: Annotated[list[str], Field(min_length=1)],
    timeout: PositiveDuration = timedelta(minutes=5),
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Command:
    """Build a handler that runs ``argv``, without a shell. Raises ValueError if there is no such program."""
    if cwd is not None and not cwd.is_dir():
        raise ValueError(f"cwd = {str(cwd)!r} is not a directory; use an existing one")
    if shutil.which(_relative_to(argv[0], cwd), path=(env or {}).get("PATH")) is None:
        raise ValueError(f"argv: program {argv[0]!r} not found or not executable; fix its path or PATH")
    return Command(argv, timeout=timeout, env=env or {}, cwd=cwd)


def _relative_to(program: str, cwd: Path | None) -> str:
    """Resolves a relative path as the child does, after the change of directory."""
    return os.path.join(cwd, program) if cwd is not None and os.sep in program else program


class Command:
    """Runs one process group per call; none outlives its timeout or ``close()``."""

    def __init__(
        self, argv: Sequence[str], *, timeout: timedelta, env: Mapping[str, str], cwd: Path | None
    ) -> None:
        self._argv = list(argv)
        self._timeout = timeout
        self._env = dict(env)
        self._cwd = cwd
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def __call__(self, result: JobResult, /) -> None:
        """Run the program. Exit code 0 is done, 75 Retry, 65 Reject; anything else is a failed attempt."""
        with self._process(result) as process:
            errors = _Errors(process)
            finished = errors.follow(time.monotonic() + self._timeout.total_seconds())
            if not finished:
                _end([process])
        if not finished:
            raise TimeoutError(f"{self._argv[0]} exceeded the timeout of {self._timeout}{errors.tail()}")
        self._settle(process.returncode, errors.tail())

    def close(self) -> None:
        """Terminate running programs, with SIGTERM first; their deliveries spend no attempt."""
        with self._lock:
            self._closed = True
            left = list(self._running)
        _end(left)

    @contextmanager
    def _process(self, result: JobResult) -> Iterator[subprocess.Popen[bytes]]:
        process = self._start(result)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)
            assert process.stderr is not None
            process.stderr.close()

    def _start(self, result: JobResult) -> subprocess.Popen[bytes]:
        # A file rather than a pipe, so that a program that does not read it cannot block us or cause EPIPE.
        with self._lock, open(os.memfd_create("result"), "w+b") as stdin:
            if self._closed:
                raise Unavailable("the listener is stopping")
            stdin.write(json_bytes(result))
            stdin.seek(0)
            process = subprocess.Popen(  # noqa: S603 - no shell; the operator's own command line
                self._argv,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environment(result),
                cwd=self._cwd,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def _environment(self, result: JobResult) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
        return (
            inherited
            | self._env
            | {
                "MNS_LISTENER_KEY": result.key,
                "MNS_LISTENER_JOB_ID": result.job_id,
                "MNS_LISTENER_STATE": result.state,
                "MNS_LISTENER_ATTEMPT": str(result.attempt),
                "MNS_LISTENER_ROUTE": result.route,
            }
        )

    def _settle(self, code: int, tail: str) -> None:
        if code == 0:
            return
        reason = f"{self._argv[0]} ended with {_ending(code)}{tail}"
        if code == EXIT_RETRY:
            raise Retry(reason)
        if code == EXIT_REJECT:
            raise Reject(reason)
        if self._closed:
            raise Unavailable(f"the listener is stopping; {reason}")
        raise RuntimeError(reason)


class _Errors:
    """The standard error of a program, of which only the end is kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._process = process
        self._pipe = process.stderr.fileno()
        self._ready = select.poll()  # unlike select(), not limited to 1024 open files
        self._ready.register(self._pipe, select.POLLIN)
        self._kept = b""

    def follow(self, deadline: float) -> bool:
        """Read until the program has ended (true) or the deadline has passed (false).

        The end of the pipe is not sufficient: the program may close it early, or pass it to a background process.
        """
        while self._process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if not self._read(min(left, _POLL_INTERVAL)):
                return self._wait(left)
        self._read(0)  # the output just before the exit; a pipe never holds more than one read
        return True

    def tail(self) -> str:
        text = self._kept.decode("utf-8", "replace").strip()
        return f": {text}" if text else ""

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read(self, wait: float) -> bool:
        """Read what arrives within ``wait`` seconds; false at the end of the pipe."""
        if not self._ready.poll(wait * 1000):
            return True
        piece = os.read(self._pipe, 65536)
        self._kept = (self._kept + piece)[-_TAIL_BYTES:]
        return bool(piece)


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Terminate process groups: SIGTERM, then SIGKILL for those still running after the shared timeout."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + _KILL_TIMEOUT.total_seconds()
    while any(_group_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL)  # polling: most processes of a group are not our children
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a process that hangs in the kernel cannot be killed
            process.wait(_KILL_TIMEOUT.total_seconds())


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # reap the leader, since a zombie counts as alive
    return _signal_group(process, 0)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    try:
        os.killpg(process.pid, number)  # the process group id of a session leader is its own id
    except (ProcessLookupError, PermissionError):
        return False  # gone, or running as another user (setuid)
    return True


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name
