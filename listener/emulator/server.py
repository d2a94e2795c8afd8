"""Serves an emulator on a port: uvicorn in a thread, started and stopped cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from listener.core.lazy_imports import lazy_imports
from listener.emulator.asgi import application
from listener.emulator.connection import KEEP_ALIVE_SECONDS, EmulatorConnection
from listener.emulator.emulator import Emulator
from listener.emulator.options import Options

with lazy_imports():
    from listener.emulator import data

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEmulator:
    """A running emulator."""

    url: str  #: ``http://127.0.0.1:PORT``, the endpoint for clients of MNS
    port: int
    emulator: Emulator
    _loop: asyncio.AbstractEventLoop
    _stopping: asyncio.Event

    def stop(self) -> None:
        """Stop the server, unless it has stopped; ``running`` waits until it has ended."""
        try:
            self._loop.call_soon_threadsafe(self._stopping.set)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def run(self, make: Callable[[Emulator], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the event loop of the emulator and return its value; from any other thread."""
        return asyncio.run_coroutine_threadsafe(make(self.emulator), self._loop).result(timeout=60)

    def call(self, function: Callable[[Emulator], T]) -> T:
        """Run a function on the event loop of the emulator and return its value; from any other thread."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function(self.emulator))
            except BaseException as error:  # whatever it is, the caller's thread raises it
                outcome.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return outcome.result(timeout=60)


#: Of the event loop, after which asyncio has introduced a connection that it just accepted to its protocol.
ITERATIONS_TO_CONNECT = 3


class EmulatorServer(uvicorn.Server):
    """A uvicorn server that stops on an event instead of polling ten times a second."""

    def __init__(
        self, config: uvicorn.Config, emulator: Emulator, listening: Callable[[asyncio.Event], None]
    ) -> None:
        super().__init__(config)
        self._emulator = emulator
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program that starts the emulator."""
        yield

    async def main_loop(self) -> None:
        stopping = asyncio.Event()
        self._listening(stopping)
        await stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no connections any more, abort those that there are, and wait for their tasks."""
        # Not with the port: asyncio would leave connections open that it has just accepted.
        for server in self.servers:
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(ITERATIONS_TO_CONNECT):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._emulator.close()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm only if the protocol number is TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def running(options: Options | None = None) -> Iterator[RunningEmulator]:
    """Run an emulator in its own thread for the duration of a ``with``.

    Raises OSError if the port is in use, and FaultError for faults that match nothing.
    """
    options = options or Options()
    started: Future[RunningEmulator] = Future()
    bound = listen(options.host, options.port)
    thread = threading.Thread(target=_run, args=(options, bound, started), name="emulator", daemon=True)
    thread.start()
    emulator = started.result(timeout=60)
    try:
        yield emulator
    finally:
        emulator.stop()
        thread.join()


def _run(options: Options, bound: socket.socket, started: Future[RunningEmulator]) -> None:
    """The thread. Errors before the port is open are raised by ``running``."""
    try:
        with bound:
            asyncio.run(_serve(Emulator(options), bound, started))
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


async def _serve(emulator: Emulator, bound: socket.socket, started: Future[RunningEmulator]) -> None:
    config = uvicorn.Config(
        application(emulator),
        http=EmulatorConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    if emulator.options.data is not None:
        data.open_data(emulator, emulator.options.data)
    server = EmulatorServer(
        config, emulator, lambda stopping: started.set_result(_describe(emulator, bound, stopping))
    )
    await server.serve(sockets=[bound])


def _describe(emulator: Emulator, bound: socket.socket, stopping: asyncio.Event) -> RunningEmulator:
    host, port = bound.getsockname()[:2]
    emulator.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return RunningEmulator(
        url=emulator.url,
        port=port,
        emulator=emulator,
        _loop=asyncio.get_running_loop(),
        _stopping=stopping,
    )
