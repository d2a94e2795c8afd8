"""Lets one daemon at a time use a SQLite file: it holds a lock on another file beside it.

Not on the database itself, since closing any descriptor of that file would drop SQLite's own locks on it.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from functools import cache
from typing import Final

from listener.core.errors import StoreInUse
from listener.store.database import folder_of, parsed_url, sqlite_path
from listener.store.file_errors import unavailable
from listener.store.url_display import display_url

#: What is appended to the name of the database file.
SUFFIX: Final = ".lock"
_HOLDER: Final = re.compile(r"process \d+ on [\w.-]+")
_MAX_HOLDER: Final = 400

#: Descriptors of all locks that this process holds.
_held: set[int] = set()


class DaemonLock:
    """Held until ``release``, or until the process ends, however it does."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        _forget_in_children()
        _held.add(descriptor)

    @classmethod
    def acquire(cls, url: str) -> DaemonLock | None:
        """Never waits; None for PostgreSQL, which any number of daemons may share.

        Raises StoreInUse if another process has the lock, SettingsError, and StoreUnavailable if a file cannot be made
        or locked there.
        """
        parsed = parsed_url(url)
        if parsed.get_backend_name() == "postgresql":
            return None
        folder_of(parsed)
        path = os.path.realpath(sqlite_path(parsed)) + SUFFIX
        try:
            descriptor = _locked(path)
        except BlockingIOError as error:
            raise StoreInUse(
                f"store {display_url(parsed)}: another daemon is running on it{_holder(path)}; stop that one first, "
                "or set store.shared = true if several daemons are meant to use one SQLite file"
            ) from error
        except OSError as error:
            raise unavailable(parsed, f"cannot lock {path}", error) from error
        return cls(path, descriptor)

    def release(self) -> None:
        """The file is removed first, while no other process can have locked it. May be called twice."""
        if self._descriptor in _held:
            _held.remove(self._descriptor)
            with suppress(OSError):
                os.unlink(self._path)
            os.close(self._descriptor)


def _locked(path: str) -> int:
    """The descriptor of a file at this path that is locked. Raises BlockingIOError if another process has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                _write_holder(descriptor)
                return descriptor
        except BaseException:  # raised again, once the file is closed
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed between being opened and being locked


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    """Only for messages: a full disk must not prevent the start."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)


def _holder(path: str) -> str:
    """Who has the lock, in brackets; empty if that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_HOLDER)
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({text})" if _HOLDER.fullmatch(text) else ""


@cache
def _forget_in_children() -> None:
    """A process that a handler forks shares the lock, and would hold it if it survived this one."""
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.pop())
