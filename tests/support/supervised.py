"""The real program as a child process, at an emulator in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

QUEUE = "mps-callbacks"
PROGRAM = (sys.executable, "-m", "listener")

SETTINGS = """\
[correlation]
wait = "0s"

[http]
listen = "unix:{folder}/http.sock"

[[queues]]
endpoint = "{endpoint}"
queue = "mps-callbacks"
wait = "1s"

[[routes]]
name = "all"
handlers = [{handler}]
"""


def write_settings(folder: Path, endpoint: str, *, handler: str = '{ use = "log" }') -> Path:
    path = folder / "listener.toml"
    path.write_text(SETTINGS.format(folder=folder, endpoint=endpoint, handler=handler), "utf-8")
    return path


@contextmanager
def a_daemon(
    settings: Path, *, under: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """``mns-listener run`` in the settings' folder, its log in ``log``; killed at the end if it still runs.

    ``under`` is a program that starts it, such as unshare.
    """
    command = [*under, *PROGRAM, "run", "-c", str(settings)]
    with (
        (settings.parent / "log").open("ab") as log,
        subprocess.Popen(
            command, cwd=settings.parent, env={**os.environ, **(environment or {})}, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def children_of(pid: int) -> list[int]:
    """All children, zombies among them; those of the main thread last, which others' children come to."""
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: task.name == str(pid))
    found: list[int] = []
    for task in tasks:
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended in the meantime
            found += map(int, (task / "children").read_text().split())
    return found
