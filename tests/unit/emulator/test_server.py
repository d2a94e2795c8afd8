"""The server of the emulator as a part of a program: it leaves nothing behind."""

from __future__ import annotations

import gc
import socket

from listener.emulator import Options
from listener.emulator.server import running


def test_connections_that_are_accepted_while_it_stops_are_closed() -> None:
    """A connection that is left open is a warning when its transport is collected, and so a failure of this test."""
    made: list[socket.socket] = []
    with running(Options()) as server:
        # All within one iteration of its event loop, so that the next one accepts them.
        def connect_and_stop() -> None:
            made.extend(socket.create_connection(("127.0.0.1", server.port)) for _ in range(30))
            server._stopping.set()

        server.call(lambda _emulator: connect_and_stop())
    for each in made:
        each.close()
    gc.collect()

    assert len(made) == 30
