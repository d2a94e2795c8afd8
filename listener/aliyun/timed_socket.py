"""A socket whose calls end at a deadline, however slowly the peer sends."""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
from typing import Any, Final

from listener.core import clock

#: What a peer may send for one request: more is no reply, and data that never ends would never be waited for.
MAX_BYTES: Final = 16 * 1024 * 1024
#: A usual reply of 16 callbacks is smaller, so that it is read by one system call.
BUFFER_BYTES: Final = 65_536


class TimedSocket:
    """Wraps a connected socket for ``http.client``, which uses no other methods than these.

    Data is sent by ``flush``: ``http.client`` would send the headers and the body of a request by themselves.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.connected = connected
        self._events = select.poll()
        self._unsent: list[bytes] = []
        self.deadline = 0.0  #: by the monotonic clock: when sending and receiving end with a TimeoutError

    def sendall(self, data: bytes) -> None:
        """Send this with the next ``flush``."""
        self._unsent.append(data)

    def flush(self) -> None:
        """Send everything now."""
        data = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        while data:
            try:
                data = data[self.connected.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.wait_until(select.POLLOUT)
            except ssl.SSLWantReadError:
                self.wait_until(select.POLLIN)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the peer sends; ``close`` leaves it readable."""
        if mode != "rb":
            raise ValueError(f"mode = {mode!r}: only 'rb' is supported")
        return io.BufferedReader(_TimedReader(self, self.connected.makefile("rb", buffering=0)), BUFFER_BYTES)

    def wait_until(self, event: int) -> None:
        """Wait for the event, select.POLLIN or select.POLLOUT. Raises TimeoutError after the deadline."""
        left = self.deadline - clock.monotonic()
        self._events.register(self.connected, event)
        if not self._events.poll(max(0.0, left) * 1000):
            raise TimeoutError("timed out")

    def is_in_step(self) -> bool:
        """Whether the peer has neither hung up nor sent what no request asked for: the next reply would be taken from
        it."""
        try:
            self.connected.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.connected.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, owner: TimedSocket, raw: Any) -> None:
        self._owner = owner
        self._raw = raw
        self._left = MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while True:
            try:
                count: int | None = self._raw.readinto(buffer)
            except ssl.SSLWantReadError:
                count = None
            except ssl.SSLWantWriteError:
                self._owner.wait_until(select.POLLOUT)
                continue
            if count is not None:
                self._left -= count
                if self._left < 0:
                    raise http.client.HTTPException(f"more than {MAX_BYTES:,} bytes for one request")
                return count
            self._owner.wait_until(select.POLLIN)

    def close(self) -> None:
        self._raw.close()
        super().close()
