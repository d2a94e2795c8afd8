"""One connection to MNS: the SDK signs requests, this module enforces timeouts.

The SDK has no timeout over HTTPS, repeats requests silently, and turns every error into text.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mns.mns_client import MNSClient
from mns.mns_exception import MNSExceptionBase
from mns.mns_http import RequestInternal
from mns.mns_request import RequestBase

from listener.aliyun.credentials import Credentials
from listener.aliyun.http_response import QuickResponse
from listener.aliyun.timed_socket import TimedSocket
from listener.core import clock, compute_lock
from listener.core.errors import SettingsError

#: A reply of 16 messages of 64 KB, with every character XML-escaped, is below this; a larger one is not from MNS.
MAX_REPLY_BYTES = 8 * 1024 * 1024
CONNECT_TIMEOUT = timedelta(seconds=4)
#: How much longer than the long poll a reply may take.
REPLY_TIMEOUT = timedelta(seconds=4)


@dataclass(frozen=True, slots=True)
class MnsReply:
    status: int
    body: bytes
    date: str


class MnsConnection:
    """Used by one thread; ``interrupt`` and ``abort`` are called from others."""

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        self._interrupted = False
        self._aborted = False
        self._parked = False
        try:
            self._client = MNSClient(endpoint, credentials_provider=credentials)
        except (MNSExceptionBase, http.client.InvalidURL) as error:
            raise SettingsError(
                f"endpoint = {endpoint!r} is not valid: {str(error).strip()}; expected http(s)://host[:port]"
            ) from error
        self._client.http.conn.response_class = QuickResponse

    def exchange(self, method: str, uri: str, *, body: bytes = b"") -> MnsReply:
        """One request and its reply. Raises OSError, HTTPException or what the credentials raise."""
        return self._send_with_one_retry(method, uri, body, timedelta(0))

    def poll(self, uri: str, *, wait: timedelta) -> MnsReply | None:
        """A GET that the server may hold for up to ``wait``; None if it was interrupted."""
        self._parked = True
        try:
            return None if self._interrupted else self._send_with_one_retry("GET", uri, b"", wait)
        except (OSError, http.client.HTTPException):
            if self._interrupted:
                return None
            raise
        finally:
            self._parked = False

    def interrupt(self) -> None:
        """End the running poll, and every later poll immediately."""
        self._interrupted = True
        if self._parked:
            self._hang_up()

    def abort(self) -> None:
        """End the running exchange, whatever it is, and fail every later one immediately with OSError."""
        self._interrupted = self._aborted = True
        self._hang_up()

    def close(self) -> None:
        self._client.close_connection()

    def _hang_up(self) -> None:
        found = self._client.http.conn.sock
        if found is not None:
            connected = (
                found.connected if isinstance(found, TimedSocket) else found
            )  # whose handshake is not over
            try:
                # Of the plain socket: on a TLS socket it would destroy state that the reading thread is using.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                pass  # already closed

    def _send_with_one_retry(self, method: str, uri: str, body: bytes, wait: timedelta) -> MnsReply:
        request = RequestInternal(method, uri, data=body or "")
        self._client.build_header(RequestBase(), request)
        kept_open = self._client.http.conn.sock is not None
        try:
            return self._send(request, wait)
        except (ConnectionError, ssl.SSLEOFError):
            # The peer may close an idle connection at any time; all requests are safe to repeat.
            if not kept_open or self._interrupted:
                raise
            return self._send(request, wait)

    def _send(self, request: Any, wait: timedelta) -> MnsReply:
        connection = self._client.http.conn
        try:
            if connection.sock is None:
                self._connect(connection)
            connection.sock.deadline = clock.monotonic() + (wait + REPLY_TIMEOUT).total_seconds()
            if self._aborted or (self._parked and self._interrupted):
                raise ConnectionAbortedError("interrupted")
            connection.request(request.method, request.uri, request.data or None, request.header)
            connection.sock.flush()
            response = connection.getresponse()
            return MnsReply(response.status, _complete_body(response), response.headers.get("date", ""))
        except BaseException:  # the rest of this reply must not be read as the next one
            connection.close()
            raise

    def _connect(self, connection: Any) -> None:
        connection.timeout = CONNECT_TIMEOUT.total_seconds()
        # The SDK's connect() for http turns every error into text, so it is bypassed. Both of these disable Nagle's
        # algorithm.
        over_tls = isinstance(connection, http.client.HTTPSConnection)
        with compute_lock.released():
            (http.client.HTTPSConnection if over_tls else http.client.HTTPConnection).connect(connection)
        connection.sock = TimedSocket(connection.sock)


def _complete_body(response: http.client.HTTPResponse) -> bytes:
    body = response.read(MAX_REPLY_BYTES)
    if response.length:  # read() with a limit does not detect a truncated body
        raise http.client.IncompleteRead(body, response.length)
    return body
