"""Run a program for every result: JSON on its standard input, the outcome as its exit code."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from listener import JobResult, Reject, Retry, Unavailable
from listener.formats.durations import PositiveDuration
from listener.runtime.open_files import restore_open_file_limit

from .json_encoding import json_bytes
from .processes import MARK, Program, end_all, end_groups, new_mark
from .time_limit import time_limit

#: From sysexits.h: EX_DATAERR means invalid input, EX_TEMPFAIL a transient failure.
EXIT_REJECT, EXIT_RETRY = 65, 75

#: What the program inherits of the environment. The rest may be secret: access keys, the store's password, tokens.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR")
#: The name of a variable, or the beginning of names. Not a star alone: then secrets would be passed inadvertently.
_VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?$")]
_KILL_TIMEOUT = timedelta(seconds=5)
_TAIL_BYTES = 2048
_POLL_INTERVAL = 0.05


def command(
    *,
    argv: Annotated[list[str], Field(min_length=1)],
    timeout: PositiveDuration = timedelta(minutes=5),
    env: dict[str, str] | None = None,
    inherit: list[_VariableName] | None = None,
    cwd: Path | None = None,
) -> Command:
    """Build a handler that runs ``argv``, without a shell. Raises ValueError if there is no such program.

    ``inherit`` names variables of our environment that are passed on besides the usual ones; ``NAME*`` is a prefix.
    """
    if cwd is not None and not cwd.is_dir():
        raise ValueError(f"cwd = {str(cwd)!r} is not a directory; use an existing one")
    if shutil.which(_relative_to(argv[0], cwd), path=(env or {}).get("PATH")) is None:
        raise ValueError(f"argv: program {argv[0]!r} not found or not executable; fix its path, cwd or PATH")
    return Command(argv, timeout=timeout, env=env or {}, inherit=inherit or (), cwd=cwd)


def _relative_to(program: str, cwd: Path | None) -> str:
    """Resolves a relative path as the child does, after the change of directory."""
    return os.path.join(cwd, program) if cwd is not None and os.sep in program else program


class Command:
    """Runs one process group per call, which does not outlive the call. Nothing outlives the timeout or ``close()``."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout: timedelta,
        env: Mapping[str, str],
        inherit: Sequence[str],
        cwd: Path | None,
    ) -> None:
        self._argv = list(argv)
        self._timeout = timeout
        self._env = dict(env)
        self._inherited = (*_INHERITED, *inherit)
        self._cwd = cwd
        self._lock = threading.Lock()
        self._running: set[Program] = set()
        self._closed = False

    def __call__(self, result: JobResult, /) -> None:
        """Run the program. Exit code 0 is done, 75 Retry, 65 Reject; anything else is a failed attempt.

        Raises Unavailable, which spends no attempt, if the program could not be started.
        """
        limit = time_limit(self._timeout)
        with self._program(result) as program:
            errors = _Errors(program.process)
            finished = errors.follow(time.monotonic() + limit.total_seconds())
            _clean_up(program)
        if not finished:
            raise TimeoutError(f"{self._argv[0]} exceeded the timeout of {limit}{errors.tail()}")
        self._settle(program.process.returncode, errors.tail())

    def close(self) -> None:
        """Terminate running programs, with SIGTERM first; their deliveries spend no attempt."""
        with self._lock:
            self._closed = True
            left = list(self._running)
        end_all(left, timeout=_KILL_TIMEOUT)

    @contextmanager
    def _program(self, result: JobResult) -> Iterator[Program]:
        try:
            program = self._start(result)
        except OSError as error:
            # It was there when the settings were read: it may be being replaced, or the system lacks resources.
            raise Unavailable(f"{self._argv[0]} could not be started: {error}") from error
        try:
            yield program
        finally:
            with self._lock:
                self._running.discard(program)
            assert program.process.stderr is not None
            program.process.stderr.close()

    def _start(self, result: JobResult) -> Program:
        mark = new_mark()
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
                env=self._environment(result, mark),
                cwd=self._cwd,
                start_new_session=True,
            )
            restore_open_file_limit(process.pid)
            program = Program(process, mark)
            self._running.add(program)
            return program

    def _environment(self, result: JobResult, mark: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if self._inherits(name)}
        return (
            inherited
            | self._env
            | {
                "MNS_LISTENER_KEY": result.key,
                "MNS_LISTENER_JOB_ID": result.job_id,
                "MNS_LISTENER_STATE": result.state,
                "MNS_LISTENER_ATTEMPT": str(result.attempt),
                "MNS_LISTENER_ROUTE": result.route,
                MARK: mark,
            }
            | ({"TRACEPARENT": result.traceparent} if result.traceparent else {})
        )

    def _inherits(self, name: str) -> bool:
        return any(
            name.startswith(known[:-1]) if known.endswith("*") else name == known for known in self._inherited
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


def _clean_up(program: Program) -> None:
    """End what is left of the program. After exit code 0, what has left its group was detached deliberately."""
    if program.process.returncode != 0:
        end_all([program], timeout=_KILL_TIMEOUT)
    elif program.has_group():
        end_groups([program], timeout=_KILL_TIMEOUT)


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name
