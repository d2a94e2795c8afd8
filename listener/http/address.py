"""Where the HTTP server listens: an address, of loopback unless it is public, or a unix socket."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from listener.core.errors import AddressInUse, SettingsError
from listener.core.loopback import is_loopback

#: How many connections wait to be accepted.
BACKLOG = 1024
#: How long a process that may listen at a unix socket has to accept a connection.
CONNECT_TIMEOUT_SECONDS = 1.0
UNIX = "unix:"


def bind(listen: str, *, public: bool = False) -> socket.socket:
    """A listening socket for ``host:port`` or ``unix:/path``; ``public``: the host may be other than loopback.

    Raises AddressInUse if another process listens there, and SettingsError if the address can't be used at all.
    """
    try:
        if listen.startswith(UNIX):
            return _bind_unix(listen.removeprefix(UNIX))
        return _bind_tcp(listen, public=public)
    except OSError as error:
        kind = AddressInUse if isinstance(error, _InUse) else SettingsError
        raise kind(
            f"http.listen = {listen!r}: {error.strerror or error}; use another address, "
            'or "" to disable the server for health and metrics'
        ) from error


def verify(listen: str, *, public: bool = False) -> None:
    """Raises what ``bind`` would raise; nothing listens there afterwards."""
    with closing(bind(listen, public=public)):
        if listen.startswith(UNIX):
            # While we listen: afterwards, another process may have replaced it by its own.
            Path(listen.removeprefix(UNIX)).unlink()


class _InUse(OSError):
    def __init__(self, words: str) -> None:
        super().__init__(errno.EADDRINUSE, words)


def is_public(listen: str) -> bool:
    """Whether other machines may reach it."""
    return not listen.startswith(UNIX) and not is_loopback(_host_and_port(listen)[0])


def _host_and_port(listen: str) -> tuple[str, str]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), port


def _bind_tcp(listen: str, *, public: bool) -> socket.socket:
    host, port = _host_and_port(listen)
    if not _is_port(port) or not (is_loopback(host) or is_address(host)):
        raise SettingsError(
            f"http.listen = {listen!r}: use a loopback address with a port, e.g. 127.0.0.1:8471, or unix:/path"
        )
    if not public and not is_loopback(host):
        raise SettingsError(
            f"http.listen = {listen!r}: other machines could reach this address; use a loopback address, e.g. "
            "127.0.0.1:8471, or unix:/path, or set http.token_file"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        return _listening(bound, (host, int(port)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _InUse(os.strerror(errno.EADDRINUSE)) from error
        raise


def _bind_unix(path: str) -> socket.socket:
    """A socket file at which no process listens is replaced: a killed process leaves it behind."""
    if not path:  # for the kernel, a request to choose a name
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with _locked(os.path.dirname(path) or "."):
        if _is_socket(path):
            if _answers(path):
                raise _InUse("another process listens there; only one daemon can use it")
            Path(path).unlink()
        return _listening(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Two processes that start at the same time must not both find a stale socket, and replace each other's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by closing the descriptor
    except BlockingIOError as error:
        raise _InUse(f"another process is creating a socket in {folder}; retry") from error


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _answers(path: str) -> bool:
    """Whether a process listens at this socket; it may be too busy, or stopped, to accept a connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT_SECONDS)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (BlockingIOError, TimeoutError):
            pass  # its backlog is full
    return True


def _listening(created: socket.socket, address: str | tuple[str, int]) -> socket.socket:
    try:
        created.bind(address)
        created.listen(BACKLOG)
    except OSError:
        created.close()
        raise
    return created


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65_535


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
