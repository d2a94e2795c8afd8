"""The listener processes of a run, and everything that is done to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.soak.evidence import Ending
from tests.support import ROOT

#: Seconds after which a step that should be quick has failed.
TIMEOUT = 60.0
#: A crash is noticed within this time.
CRASH_NOTICED = 1.0
STARTED = '"listener.started"'


class ListenerProcesses:
    """The listener processes of one run, one in each slot; a process that ends is replaced."""

    def __init__(self, folder: Path, *, entry: Sequence[str] = ("-m", "listener")) -> None:
        self.endings: list[Ending] = []
        self.troubles: list[str] = []
        self.happened: Counter[str] = Counter()
        self._folder = folder
        self._entry = tuple(entry)
        self._slots: dict[int, subprocess.Popen[bytes]] = {}
        self._logs: dict[int, Path] = {}
        self._frozen: dict[int, float] = {}
        self._started = 0

    def start(self, slot: int, *, entry: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        self._slots[slot] = self.run(entry=entry)
        return self._slots[slot]

    def run(self, *arguments: str, entry: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start ``listener run``; its log goes to a file of its own."""
        self._started += 1
        command = [sys.executable, *(entry or self._entry), "run", "-c", str(self._folder / "listener.toml")]
        path = self._folder / f"log-{self._started}.jsonl"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env=environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._logs[process.pid] = path
        return process

    @property
    def at_work(self) -> bool:
        return bool(self._slots)

    def log(self, slot: int) -> str:
        """What a process has logged so far."""
        return self._logs[self._slots[slot].pid].read_text(encoding="utf-8")

    def all_started(self) -> bool:
        """Whether every process has logged it."""
        return all(STARTED in self.log(slot) for slot in self._slots)

    def kill(self, slot: int) -> None:
        self._end(slot, signal.SIGKILL, "kill")
        self.start(slot)

    def stop(self, slot: int, *, entry: Sequence[str] = ()) -> None:
        """Stop a process politely; ``entry`` starts another kind of listener in its place."""
        self._end(slot, signal.SIGTERM, "stop")
        self.start(slot, entry=entry)

    def freeze(self, slot: int) -> Callable[[], None]:
        """Stop the process in its tracks; returns what lets it go on."""
        process = self._slots[slot]
        self._frozen.setdefault(process.pid, time.monotonic())
        process.send_signal(signal.SIGSTOP)
        return lambda: self._thaw(process)

    def _thaw(self, process: subprocess.Popen[bytes]) -> None:
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


def environment(folder: Path) -> dict[str, str]:
    """What a listener process of the soak sees of the world."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SOAK_FOLDER": str(folder),
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }


def _surely_end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(TIMEOUT)
