"""The real program without the cost of its imports: forked from a process that has imported everything already.

Importing the packages takes longer than most tests that start the program. A fork has its own memory, threads,
signals, environment and standard streams, and can be killed or frozen like any other process. Like a new interpreter,
it executes a ``sitecustomize.py`` in its folder first. Tests of the start itself and of the
interpreter's end start ``python -m listener`` instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import reduction
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

#: What the program imports on its way to handling its first delivery, among it the SDK of MPS, and what tests add.
IMPORTED = (
    *("listener.cli.run", "listener.cli.submit", "listener.cli.jobs", "listener.daemon.daemon"),
    *("listener.client", "listener.cli.waiting", "listener.runtime.log_setup", "listener.store.queries"),
    *("listener.aliyun.mns_queue", "listener.aliyun.mps_client", "listener.jobs.bulk_submission"),
    *("alibabacloud_mts20140618.client", "alibabacloud_tea_openapi.utils_models", "darabonba.runtime"),
    *("listener.http.app", "listener.http.server", "listener.api.application"),
    *("listener.handlers.command", "listener.handlers.jsonl", "listener.handlers.webhook"),
    *("sqlalchemy.dialects.sqlite", "encodings.idna", "tests.soak.campaign", "tests.soak.recorder"),
)


class Descriptor(int):
    """A descriptor that a process passes on to one that it starts; unpickled there, it is that process's own number."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(int(self)),)


def _received(passed: Any) -> int:
    number: int = passed.detach()
    return number


class Streams(NamedTuple):
    """What becomes the standard streams of a program, in the order of their descriptors: files, or what is open."""

    stdin: Path
    stdout: Path | int
    stderr: Path | int


class ForkedProgram:
    """A running ``python -m module …``; the interface is that of ``subprocess.Popen``, as far as tests use it."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdout: Path | int,
        stderr: Path | int,
        stdin: Path = Path(os.devnull),
    ) -> None:
        """``stdout`` and ``stderr``: a file to append to, or a descriptor of this process."""
        outputs = (Descriptor(each) if isinstance(each, int) else each for each in (stdout, stderr))
        self.args = [sys.executable, "-m", module, *arguments]
        self._process: ForkServerProcess = forking_context().Process(
            target=_run, args=(module, arguments, cwd, dict(env), Streams(stdin, *outputs))
        )
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def sentinel(self) -> int:
        """A descriptor that can be read once the process has ended."""
        return self._process.sentinel

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    module: str, *arguments: str, cwd: Path, env: Mapping[str, str], timeout: float = 90.0
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module …`` to its end; a module in the folder ``cwd`` is found there."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        program = ForkedProgram(module, *arguments, cwd=cwd, env=env, stdout=out, stderr=err)
        try:
            code = program.wait(timeout)
        finally:
            program.kill()
        return subprocess.CompletedProcess(program.args, code, out.read_text("utf-8"), err.read_text("utf-8"))


def run_source(source: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program that consists of one module, which is written to this folder."""
    (folder / "application.py").write_text(source, "utf-8")
    return run_forked("application", cwd=folder, env=env)


@cache
def forking_context() -> ForkServerContext:
    """Starts processes that have everything imported; a process that was started so starts others from the same one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *IMPORTED])
    return context


def _run(
    module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], streams: Streams
) -> NoReturn:
    """Become the program, in the process that was forked for it."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, target in enumerate(streams):
        file = target if isinstance(target, int) else _opened(target, writable=number > 0)
        if file != number:
            os.dup2(file, number)
            os.close(file)
    sys.stdin = os.fdopen(0, encoding=sys.stdout.encoding, closefd=False)
    # The parent's objects believe that they can be positioned, which a pipe cannot.
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False)
    sys.path[:0] = [str(cwd), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *arguments]
    if (cwd / "sitecustomize.py").exists():
        runpy.run_path(str(cwd / "sitecustomize.py"))
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        code = leaving.code
    atexit._run_exitfuncs()  # the parent's process class would leave without them
    sys.stdout.flush()
    with suppress(OSError):  # an interpreter, too, ends as usual if a full disk has no room for its warnings
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _opened(path: Path, *, writable: bool) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if writable else os.O_RDONLY, 0o644)
