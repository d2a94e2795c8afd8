"""Connections of the HTTP server: how many there may be, and how long each may wait for its next request.

A client that opens connections and does nothing can use up neither descriptors nor the CPU, and a health check still
gets through: a new connection closes the one that has waited longest.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from listener.core.logger import get_logger
from listener.http import time_limits
from listener.http.connection_limit import close_one, connection_limit
from listener.http.time_limits import LimitedConnection, TimeLimits
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: The pause after a connection could not be accepted, if none can be closed instead.
ACCEPT_PAUSE_SECONDS = 1.0


class Connection(LimitedConnection, H11Protocol):
    """One connection. It is closed unless a request arrives in time, after the connection was made and after each
    response; sending a request slowly does not extend the time. Its body must arrive in time, too, since some are read
    before any token is known. A client that does not read is closed as well.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = TimeLimits(self.loop, latest=lambda: self.cycle, abort=self.abort)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._limits.expect_request(None, seconds=time_limits.WAIT_SECONDS)

    def on_response_complete(self) -> None:
        answered = self.cycle
        super().on_response_complete()  # may begin a request that has already arrived
        self._limits.expect_request(answered, seconds=time_limits.WAIT_SECONDS)

    def shutdown(self) -> None:
        """The server stops: what is processed is still answered. A body that does not arrive any more is not: its
        request is abandoned, like one whose client is gone."""
        super().shutdown()
        self._limits.expect_body_soon()


class Acceptor:
    """Accepts connections. Not ``asyncio.Server``: that one accepts without a limit, and when the process has no
    descriptors left, it logs thousands of errors per second.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        make: Callable[[], Connection],
        connections: Collection[Connection],
        max_connections: int,
    ) -> None:
        """``connections`` are the open ones, which add and remove themselves."""
        self._listening = listening
        self._make = make
        self._connections = connections
        self._max_connections = max_connections
        self._warnings = ThrottledLog(log)

    async def run(self) -> None:
        """Until it is cancelled."""
        self._listening.setblocking(False)
        while True:
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(self._listening)
            except ConnectionAbortedError:
                continue  # its client has given up
            except OSError as error:  # above all EMFILE: the process has no descriptors left
                self._warnings.warning("http.accept_failed", error=error.strerror)
                await asyncio.sleep(0 if close_one(self._connections) else ACCEPT_PAUSE_SECONDS)
            else:
                await self._serve(accepted)

    async def _serve(self, accepted: socket.socket) -> None:
        if len(self._connections) >= connection_limit(self._max_connections):
            close_one(self._connections)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._make, accepted)
        except OSError:
            accepted.close()
