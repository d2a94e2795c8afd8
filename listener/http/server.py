"""Runs an application at a listening socket, in its own thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import uvicorn

from listener.http.connections import Acceptor, Connection

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: The longest head of a request, in bytes.
MAX_HEAD = 16 << 10


class StoppableServer(uvicorn.Server):
    """A uvicorn server that limits its connections, and stops on request instead of polling ten times a second."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket, *, max_connections: int) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self._listening = listening
        self._max_connections = max_connections

    async def main_loop(self) -> None:
        connections = cast("set[Connection]", self.server_state.connections)
        acceptor = Acceptor(
            self._listening,
            make=self._connection,
            connections=connections,
            max_connections=self._max_connections,
        )
        self._loop = asyncio.get_running_loop()
        self._accepting = asyncio.create_task(acceptor.run())
        self.serving.set()
        with suppress(asyncio.CancelledError):
            await self._accepting

    def stop(self) -> None:
        """From another thread, once it is serving."""
        self._loop.call_soon_threadsafe(self._accepting.cancel)

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, app_state={})


class Server:
    """Serves until ``stop``."""

    def __init__(self, app: ASGIApp, bound: socket.socket, *, max_connections: int) -> None:
        self._bound = bound
        config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            date_header=False,
            h11_max_incomplete_event_size=MAX_HEAD,
            timeout_graceful_shutdown=2,
        )
        self._server = StoppableServer(config, bound, max_connections=max_connections)
        # Without sockets of its own, uvicorn accepts nothing.
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": []}, name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()
        self._server.serving.wait()

    def stop(self) -> None:
        self._server.stop()
        self._thread.join()
        self._bound.close()
