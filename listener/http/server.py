"""Runs an application on a loopback address or a unix socket, in its own thread."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from listener.core.errors import SettingsError

if TYPE_CHECKING:
    from starlette.applications import Starlette


class StoppableServer(uvicorn.Server):
    """A uvicorn server that stops on an event instead of polling ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.serving.set()
        await self._stopping.wait()

    def stop(self) -> None:
        """From another thread, once it is serving."""
        self._loop.call_soon_threadsafe(self._stopping.set)


class Server:
    """Serves until ``stop``."""

    def __init__(self, app: Starlette, bound: socket.socket) -> None:
        self._bound = bound
        self._server = StoppableServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                date_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [bound]}, name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()
        self._server.serving.wait()

    def stop(self) -> None:
        self._server.stop()
        self._thread.join()
        self._bound.close()


def bind(listen: str) -> socket.socket:
    """A listening socket for ``host:port`` or ``unix:/path``. Raises SettingsError."""
    try:
        return _bind_unix(listen.removeprefix("unix:")) if listen.startswith("unix:") else _bind_tcp(listen)
    except OSError as error:
        raise SettingsError(
            f"http.listen = {listen!r}: {error.strerror or error}; use another address, "
            'or "" to disable the server for health and metrics'
        ) from error


def _bind_tcp(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not _is_port(port) or not _is_loopback(host):
        raise SettingsError(
            f"http.listen = {listen!r}: use a loopback address with a port, e.g. 127.0.0.1:8471, or unix:/path"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bound(bound, (host, int(port)))


def _bind_unix(path: str) -> socket.socket:
    if Path(path).exists() and stat.S_ISSOCK(os.stat(path).st_mode):
        Path(path).unlink()  # left by a predecessor; in use only if another process has the same settings
    return _bound(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


def _bound(created: socket.socket, address: str | tuple[str, int]) -> socket.socket:
    try:
        created.bind(address)
        created.listen(64)
    except OSError:
        created.close()
        raise
    return created


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65_535


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
