"""The listener processes of a run, and everything that is done to them."""

from __future__ import annotations

import fcntl
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.soak.evidence import Ending
from tests.support import ROOT
from tests.support.forked import ForkedProgram

#: Seconds after which a step that should be quick has failed.
TIMEOUT = 120.0
#: A crash is noticed within this time.
CRASH_NOTICED = 1.0
#: Seconds for which the reader of a log stops to read.
NOT_READ = 6.0
SMALLEST_PIPE = 4096
SURELY_STARTED = 10.0
STARTED = '"listener.started"'


class ListenerProcesses:
    """The listener processes of one run, one in each slot; a process that ends is replaced."""

    def __init__(self, folder: Path, *, entry: Sequence[str] = ("listener",)) -> None:
        self.endings: list[Ending] = []
        self.troubles: list[str] = []
        self.happened: Counter[str] = Counter()
        self._folder = folder
        self._entry = tuple(entry)
        self._slots: dict[int, ForkedProgram] = {}
        self._logs: dict[int, Path] = {}
        self._frozen: dict[int, float] = {}
        self._started = 0
        self._unlogged: dict[int, float] = {}  #: when a process that cannot log has surely started

    def start(self, slot: int) -> ForkedProgram:
        self._slots[slot] = self.run()
        return self._slots[slot]

    def run(self, *arguments: str) -> ForkedProgram:
        """Start ``listener run``; its log goes to a file of its own."""
        path = self._new_log()
        return self._run(path, path, *arguments)

    def _new_log(self) -> Path:
        self._started += 1
        path = self._folder / f"log-{self._started}.jsonl"
        path.touch()
        return path

    def _run(self, output: Path, log: Path, *arguments: str) -> ForkedProgram:
        """``output``: what the program logs to; ``log``: where it can be read."""
        module, *options = self._entry
        process = ForkedProgram(
            module,
            *(*options, "run", "-c", str(self._folder / "listener.toml"), *arguments),
            cwd=ROOT,
            env=environment(self._folder),
            stdout=output,
            stderr=output,
        )
        self._logs[process.pid] = log
        return process

    def restart_with_log(self, slot: int, kind: str) -> None:
        """Replace a process by one whose log cannot be written, or is not read once it has started."""
        self._end(slot, signal.SIGTERM, "stop")
        path = self._new_log()
        if kind == "log-full":
            self._slots[slot] = self._run(Path("/dev/full"), path)
            self._unlogged[self._slots[slot].pid] = time.monotonic() + SURELY_STARTED
        else:
            self._slots[slot] = self._with_reader(path, kind)
        self.happened[kind] += 1

    def _with_reader(self, path: Path, kind: str) -> ForkedProgram:
        """A process that logs into a small pipe."""
        pipe = path.with_suffix(".pipe")
        os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
        process = self._run(pipe, path)
        # Not on this thread, which has other blows to strike meanwhile.
        threading.Thread(target=_read_log, args=(reading, path, kind), daemon=True).start()
        return process

    @property
    def at_work(self) -> bool:
        return bool(self._slots)

    def log(self, slot: int) -> str:
        """What a process has logged so far."""
        return self._logs[self._slots[slot].pid].read_text(encoding="utf-8")

    def all_started(self) -> bool:
        """Whether every process has logged it; one whose log is lost has had time enough."""
        return all(
            STARTED in self.log(slot) or time.monotonic() > self._unlogged.get(process.pid, math.inf)
            for slot, process in self._slots.items()
        )

    def kill(self, slot: int) -> None:
        self._end(slot, signal.SIGKILL, "kill")
        self.start(slot)

    def stop(self, slot: int) -> None:
        """Stop a process politely, and start another in its place."""
        self._end(slot, signal.SIGTERM, "stop")
        self.start(slot)

    def hang_up(self, slot: int, *, times: int, between: Callable[[int], None]) -> None:
        """So many SIGHUPs, each after a call of ``between``; none to a process that is not ready for them."""
        process, since = self._slots[slot], time.monotonic()
        if STARTED not in self.log(slot):
            return
        for number in range(times):
            between(number)
            process.send_signal(signal.SIGHUP)
        self.note("hup", process.pid, since)

    def restart_all(self, kind: str, since: float) -> None:
        """Kill all of them, as nothing else ends what was done to their store since then; start others."""
        for slot in self._slots:
            self._end(slot, signal.SIGKILL, "kill")
        for slot, process in list(self._slots.items()):
            self.endings.append(Ending(pid=process.pid, kind=kind, since=since, until=time.monotonic()))
            self.start(slot)

    def freeze(self, slot: int) -> Callable[[], None]:
        """Stop the process in its tracks; returns what lets it go on."""
        process = self._slots[slot]
        self._frozen.setdefault(process.pid, time.monotonic())
        process.send_signal(signal.SIGSTOP)
        return lambda: self._thaw(process)

    def _thaw(self, process: ForkedProgram) -> None:
        since = self._frozen.pop(process.pid, None)
        if since is not None:
            process.send_signal(signal.SIGCONT)
            self.note("freeze", process.pid, since)

    def note(self, kind: str, pid: int, since: float) -> None:
        self.happened[kind] += 1
        self.endings.append(Ending(pid=pid, kind=kind, since=since, until=time.monotonic()))

    def await_crash(self, slot: int) -> None:
        """Wait until a process has killed itself, as requested."""
        process, since = self._slots.pop(slot), time.monotonic()
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            code = 0
        self.note("kill", process.pid, max(since, time.monotonic() - CRASH_NOTICED))
        if code != -signal.SIGKILL:
            _surely_end(process)
            self.troubles.append(f"process {process.pid} did not crash but ended with {code}")

    def dismiss(self) -> None:
        """Stop all of them politely."""
        for slot in list(self._slots):
            self._end(slot, signal.SIGTERM, "stop")
            del self._slots[slot]

    def drain(self) -> None:
        """One more process, that ends when nothing is left to do."""
        process = self.run("--drain")
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            code = -1
            self.troubles.append("the drain timed out")
        finally:
            _surely_end(process)
        if code:
            self.troubles.append(f"the drain ended with {code}")

    def abandon(self) -> None:
        """End whatever still runs, because the run itself went wrong."""
        for process in self._slots.values():
            _surely_end(process)

    def _end(self, slot: int, number: signal.Signals, kind: str) -> None:
        process, since = self._slots[slot], time.monotonic()
        if process.poll() is not None:
            self.troubles.append(f"process {process.pid} ended by itself with {process.returncode}")
        process.send_signal(number)
        self._thaw(process)  # a frozen process does not even hear SIGTERM
        code = process.wait(TIMEOUT)
        self.note(kind, process.pid, since)
        too_early = code == -signal.SIGTERM and STARTED not in self.log(slot)
        if number is signal.SIGTERM and code and not too_early:
            self.troubles.append(f"process {process.pid} answered SIGTERM with {code}")


def _read_log(reading: int, path: Path, kind: str) -> None:
    """Copy the log to a file until the process has started; then go away, or read no more for a while."""
    select.select([reading], [], [])  # before the process has opened the pipe, reading would find its end
    os.set_blocking(reading, True)
    with open(reading, "rb", buffering=0) as pipe, path.open("ab", buffering=0) as copy:
        text = b""
        while STARTED.encode() not in text and (part := pipe.read(SMALLEST_PIPE)):
            copy.write(part)
            text += part
        if kind == "log-stalled":
            threading.Event().wait(NOT_READ)
            while part := pipe.read(SMALLEST_PIPE):
                copy.write(part)


def environment(folder: Path) -> dict[str, str]:
    """What a listener process of the soak sees of the world."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SOAK_FOLDER": str(folder),
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        **{name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ},
    }


def _surely_end(process: ForkedProgram) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(TIMEOUT)
