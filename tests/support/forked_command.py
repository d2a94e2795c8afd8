"""``mns-listener`` on a path for scripts: a stand-in whose programs are forked with their imports done."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.forked import ForkedProgram

#: Asks for a program on its own standard streams, and ends as that does. If it is killed, so is the program.
STAND_IN = """\
#!{python} -SI
import json, os, socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect({address!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), os.getpid(), dict(os.environ)]).encode()
asking.sendall(b"%d\\n" % len(asked) + asked)
code = int(asking.recv(16))
sys.exit(code if code >= 0 else 128 - code)
"""
#: Seconds within which a process that was killed has ended.
BOUND = 90.0


@contextmanager
def forked_command(folder: Path) -> Iterator[Path]:
    """A new folder for the path, in which ``mns-listener`` is; what still runs at the end is killed."""
    address = f"\0{os.getpid()}-{folder}"
    folder.mkdir()
    command = folder / "mns-listener"
    command.write_text(STAND_IN.format(python=sys.executable, address=address), "utf-8")
    command.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as asked:
        asked.bind(address)
        asked.listen()
        serving = threading.Thread(target=_serve, args=(asked,))
        serving.start()
        try:
            yield folder
        finally:
            asked.shutdown(socket.SHUT_RDWR)
            serving.join()


def _serve(asked: socket.socket) -> None:
    programs: list[threading.Thread] = []
    while True:
        try:
            connection, _ = asked.accept()
        except OSError:  # the end
            break
        programs.append(threading.Thread(target=_run, args=(connection,)))
        programs[-1].start()
    for program in programs:
        program.join()


def _run(connection: socket.socket) -> None:
    """Run a program for as long as the stand-in waits for it."""
    with connection, connection.makefile("rb") as request:
        arguments, cwd, pid, environment = json.loads(request.read(int(request.readline())))
        stdin, stdout, stderr = (Path(f"/proc/{pid}/fd/{number}") for number in range(3))
        program = ForkedProgram(
            "listener",
            *arguments,
            cwd=Path(cwd),
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        ended, _, _ = select.select([connection.fileno(), program.sentinel], [], [])
        if program.sentinel in ended:
            with suppress(BrokenPipeError):  # the stand-in has been killed just now
                connection.sendall(str(program.wait(BOUND)).encode())
        else:
            program.kill()
            program.wait(BOUND)
