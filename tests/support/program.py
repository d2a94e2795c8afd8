"""The real program as a child process, and a listener for its messages to the supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from listener.core.model import Quarantined
from listener.emulator import Options
from listener.emulator.mns.queue import Attributes, draft
from listener.emulator.server import RunningEmulator, running
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from tests.support.builders import a_callback, wrapped
from tests.support.forked import ForkedProgram
from tests.support.sqlite import new_sqlite

T = TypeVar("T")

#: Seconds after which a step has failed; no step takes this long otherwise.
BOUND: Final = 90.0
QUEUE: Final = "mps-callbacks"
NOTIFY_URL: Final = f"mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/{QUEUE}"
SECRET: Final = "testKeySecret"

SETTINGS = """\
[store]
url = "sqlite:///{folder}/listener.db"

[correlation]
wait = "0s"

[http]
listen = ""

[mps]
endpoint = "{endpoint}"
notify_url = "{notify_url}"

[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"

{routes}
"""
ALL_TO_FILE = """\
[[routes]]
name = "all"
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""


class Ear:
    """A supervisor's notify socket; in the abstract name space, where no path is too long."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("")  # the kernel chooses a name
        self._heard: list[str] = []

    @property
    def address(self) -> str:
        name: bytes = self._socket.getsockname()[1:]
        return f"@{name.decode()}"

    def wait_for(self, line: str, *, times: int = 1, seconds: float = BOUND) -> None:
        """Return once the line was heard so often; fail when it never is."""
        deadline = time.monotonic() + seconds
        while self._heard.count(line) < times:
            left = deadline - time.monotonic()
            assert left > 0, f"{line} was never sent, only {self._heard}"
            self._listen(left)

    def heard(self) -> list[str]:
        """Everything that was sent so far."""
        while self._listen(0.0):
            pass
        return self._heard

    def close(self) -> None:
        self._socket.close()

    def _listen(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            self._heard += self._socket.recv(4096).decode().split("\n")
        except (TimeoutError, BlockingIOError):
            return False
        return True


class Program:
    """One running ``mns-listener``: forked with its imports done, or started by a ``fresh`` interpreter."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str],
        fresh: bool = False,
        output: int | None = None,
    ) -> None:
        """``output``: a descriptor for standard output and standard error instead of files."""
        self.ear = Ear()
        self._out = folder / f"{self.ear.address[1:]}.out"
        self._err = folder / f"{self.ear.address[1:]}.err"
        env = {**os.environ, "NOTIFY_SOCKET": self.ear.address, **environment}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            if fresh:
                command = [sys.executable, "-m", "listener", *arguments]
                self.process: ForkedProgram | subprocess.Popen[bytes] = subprocess.Popen(
                    command, env=env, stdout=output or out, stderr=output or err, cwd=folder
                )
            else:
                self.process = ForkedProgram(
                    "listener",
                    *arguments,
                    env=env,
                    stdout=self._out if output is None else output,
                    stderr=self._err if output is None else output,
                    cwd=folder,
                )

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def logs(self, event: str = "") -> list[dict[str, Any]]:
        """What it has logged so far, whole lines of JSON only; ``event`` picks."""
        lines = [json.loads(line) for line in self.stderr.splitlines(True) if line.endswith("}\n")]
        return [line for line in lines if event in ("", line["event"])]

    def ready(self) -> Program:
        self.ear.wait_for("READY=1")
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, *, seconds: float = BOUND) -> int:
        """Its exit status; fails the test when it does not end."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """As the kernel's out-of-memory killer would."""
        self.send(signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.ear.close()


@dataclass
class Place:
    """A folder with settings, a store and an emulator; programs started here are ended with the test."""

    folder: Path
    server: RunningEmulator
    fresh: bool = False  #: whether programs are started by an interpreter of their own
    programs: list[Program] = field(default_factory=list)

    def settings(self, routes: str = ALL_TO_FILE, *, endpoint: str = "", name: str = "listener.toml") -> Path:
        """Write a settings file, and make the store that it names; ``{folder}`` in the routes is this one."""
        text = SETTINGS.format(
            folder=self.folder,
            endpoint=endpoint or self.server.url,
            notify_url=NOTIFY_URL,
            queue=QUEUE,
            routes=routes.format(folder=self.folder),
        )
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        store = self.folder / "listener.db"
        if not store.exists():
            new_sqlite(store)  # else every program would have to import Alembic and migrate
        return path

    def start(self, *arguments: str, output: int | None = None, **settings: str) -> Program:
        """Start the program; ``dispatch__lease="2s"`` sets one setting, an upper-case name any variable."""
        environment = {
            name if name.isupper() else f"MNS_LISTENER_{name.upper()}": value
            for name, value in settings.items()
        }
        program = Program(
            *arguments,
            folder=self.folder,
            environment={"PYTHONPATH": self.path, **environment},
            fresh=self.fresh,
            output=output,
        )
        self.programs.append(program)
        return program

    def run(self, *arguments: str, output: int | None = None, **settings: str) -> Program:
        """Start the daemon with the settings that were written."""
        settings_file = str(self.folder / "listener.toml")
        return self.start("run", "-c", settings_file, *arguments, output=output, **settings)

    @property
    def path(self) -> str:
        """Where Python finds the tests' own handlers and the packages."""
        return os.pathsep.join(
            filter(None, [str(self.folder), os.getcwd(), os.environ.get("PYTHONPATH", "")])
        )

    # the emulator

    def create_queue(self, **attributes: Any) -> None:
        self.server.call(lambda emulator: emulator.mns.create(QUEUE, Attributes(**attributes)))

    def send(self, *job_ids: str, **members: Any) -> None:
        """Callbacks of these jobs."""
        self.send_raw(*(wrapped(a_callback(JobId=job_id, **members)) for job_id in job_ids))

    def send_raw(self, *bodies: str) -> None:
        self.server.call(lambda emulator: emulator.mns.queues[QUEUE].send([draft(body) for body in bodies]))

    def asked(self, operation: str) -> int:
        """How many requests of this kind the emulator has got."""
        return self.server.call(lambda emulator: emulator.requests[operation])

    def messages_left(self) -> int:
        counts = self.server.call(lambda emulator: emulator.mns.queues[QUEUE].counts())
        return sum(counts.values())

    def messages_hidden(self) -> int:
        """How many have been received, but not deleted, within the visibility timeout."""
        counts = self.server.call(lambda emulator: emulator.mns.queues[QUEUE].counts())
        return counts["inactive"]

    def happened(self, kind: str) -> int:
        return self.server.call(lambda emulator: emulator.faults.happened(kind))

    # what came of it

    def queries(self, look: Callable[[Queries], T]) -> T:
        """Ask the store, as an operator would."""
        with self.store() as store:
            return look(Queries(store.database))

    def quarantined(self) -> Sequence[Quarantined]:
        """All messages in quarantine, newest first."""
        with self.store() as store:
            return QuarantinedMessages(store.database).page()

    @contextmanager
    def store(self) -> Iterator[SqlStore]:
        store = SqlStore.open(f"sqlite:///{self.folder}/listener.db")
        try:
            yield store
        finally:
            store.close()

    def delivery_states(self) -> dict[str, int]:
        return self.queries(lambda queries: queries.counts())["deliveries"]

    def lines(self, name: str = "results.jsonl") -> list[dict[str, Any]]:
        """What handlers have written."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        for program in self.programs:
            program.close()


@contextmanager
def configured_place(folder: Path) -> Iterator[Place]:
    """A place with its emulator, whose jobs end soon, and with settings that write every result to a file."""
    with running(Options(job_seconds=0.01, queues=(QUEUE,))) as server:
        here = Place(folder, server)
        here.settings()
        try:
            yield here
        finally:
            here.close()


HANGING = """\
import os
import threading

def hang(result):
    with open("started", "a") as file:
        file.write(f"{result.key} {result.attempt}\\n")
    while os.path.exists("hang"):
        threading.Event().wait(0.01)
"""
TO_HANGING = """\
[[routes]]
name = "all"
handlers = [{{ use = "python", callable = "hanging:hang" }}]
"""


def unused_endpoint() -> str:
    """An endpoint at which nothing listens. A server may, and the kernel gives its port to no other program.

    The port remains bound until this process ends: with SO_REUSEADDR, a server can listen there all the same.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    reserved.detach()
    return address


def hang_in(place: Place) -> Path:
    """Settings with a handler that hangs as long as the file ``hang`` is there; returns where it notes starts."""
    (place.folder / "hanging.py").write_text(HANGING)
    (place.folder / "hang").touch()
    place.settings(TO_HANGING)
    return place.folder / "started"
