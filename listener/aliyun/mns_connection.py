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
from listener.core import clock
from listener.core.errors import SettingsError

#: A reply of 16 messages of 64 KB, with every character XML-escaped, is below this; a larger one is not from MNS.
MAX_REPLY_BYTES = 8 * 1024 * 1024
CONNECT_TIMEOUT = timedelta(seconds=4)
#: How much longer than the long poll a reply may take.
REPLY_TIMEOUT = timedelta(seconds=4)
#: What a request on a connection that was idle may fail with: the peer may close it at any time. It is then sent again,
#: on a new one; all requests are safe to repeat.
_CLOSED = (ConnectionError, ssl.SSLEOFError)


@dataclass(frozen=True, slots=True)
class MnsRequest:
    method: str
    uri: str
    body: bytes = b""
    #: How long the server may hold it. After ``interrupt``, a request that has a wait is not sent. One that is under
    #: way is ended, unless its wait is zero: its reply comes soon, and messages in it would otherwise stay hidden until
    #: their visibility timeout.
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MnsReply:
    status: int
    body: bytes
    date: str


def sdk_client(endpoint: str, credentials: Credentials) -> MNSClient:
    """The SDK's client, which signs requests. Raises SettingsError if the endpoint cannot be used."""
    try:
        return MNSClient(endpoint, credentials_provider=credentials)
    except (MNSExceptionBase, http.client.InvalidURL) as error:
        raise SettingsError(
            f"endpoint = {endpoint!r} is not valid: {str(error).strip()}; expected http(s)://host[:port]"
        ) from error


class MnsConnection:
    """Used by one thread; ``interrupt`` and ``abort`` are called from others."""

    def __init__(self, client: MNSClient) -> None:
        """The client may be shared by several connections of a thread."""
        self._client = client
        self._http = _http_connection(client)
        self._socket: TimedSocket | None = None  #: the newest
        self._interrupted = False
        self._aborted = False
        self._parked = False  #: whether the running request has a wait
        self._request = MnsRequest("", "")
        self._signed: Any = None
        self._kept_open = False
        self._failure: Exception | None = None

    def begin(self, request: MnsRequest) -> bool:
        """Send a request; ``finish`` must follow. Returns whether it was sent; if not, ``finish`` raises the reason."""
        self._request, self._parked = request, request.wait is not None
        self._signed = RequestInternal(request.method, request.uri, data=request.body or "")
        self._kept_open = self._http.sock is not None
        self._failure = None
        try:
            self._client.build_header(RequestBase(), self._signed)
            try:
                self._send()
            except _CLOSED:
                if not self._kept_open:
                    raise
                self._repeat()
        except Exception as error:
            self._failure = error
        return self._failure is None

    def finish(self, *, repeat: bool = True) -> MnsReply | None:
        """The reply to the request that was begun; None if it was interrupted.

        With ``repeat``, it is sent again if the server had closed the connection. Raises OSError, HTTPException or what
        the credentials raise.
        """
        try:
            if self._failure is not None:
                raise self._failure
            try:
                return self._reply()
            except _CLOSED:
                if not (repeat and self._kept_open):
                    raise
                self._repeat()
                return self._reply()
        except (OSError, http.client.HTTPException):
            if self._parked and self._interrupted:
                return None
            raise
        finally:
            self._parked = False

    def interrupt(self) -> None:
        """End the running request that the server may hold, and every later one that has a wait immediately."""
        self._interrupted = True
        if self._parked and self._request.wait:
            self._hang_up()

    def abort(self) -> None:
        """End the running request, whatever it is, and fail every later one immediately with OSError."""
        self._interrupted = self._aborted = True
        self._hang_up()

    def close(self) -> None:
        self._http.close()

    def _hang_up(self) -> None:
        # http.client forgets the socket of a reply that ends with the connection before it is read.
        found = self._http.sock or self._socket
        if found is not None:
            # During the handshake it is not wrapped yet.
            connected = found.connected if isinstance(found, TimedSocket) else found
            try:
                # Of the plain socket: on a TLS socket it would destroy state that the reading thread is using.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                pass  # already closed

    def _repeat(self) -> None:
        self._kept_open = False
        self._send()

    def _send(self) -> None:
        connection, signed = self._http, self._signed
        try:
            self._check()
            if connection.sock is not None and not connection.sock.is_in_step():
                self._kept_open = False
                connection.close()
            if connection.sock is None:
                self._connect(connection)
                self._check()
            limit = (self._request.wait or timedelta(0)) + REPLY_TIMEOUT
            connection.sock.deadline = clock.monotonic() + limit.total_seconds()
            connection.request(signed.method, signed.uri, signed.data or None, signed.header)
            connection.sock.flush()
        except BaseException:  # nothing else may be sent after half a request
            connection.close()
            raise

    def _check(self) -> None:
        if self._aborted or (self._parked and self._interrupted):
            raise ConnectionAbortedError("interrupted")

    def _reply(self) -> MnsReply:
        connection = self._http
        try:
            response = connection.getresponse()
            return MnsReply(response.status, _complete_body(response), response.headers.get("date", ""))
        except BaseException:  # the rest of this reply must not be read as the next one
            connection.close()
            raise

    def _connect(self, connection: Any) -> None:
        connection.timeout = CONNECT_TIMEOUT.total_seconds()
        connection.connect()  # disables Nagle's algorithm
        self._socket = connection.sock = TimedSocket(connection.sock)


def _http_connection(client: MNSClient) -> Any:
    """A connection to the endpoint of this client. TLS contexts are shared: each holds all authorities, 0.8 MB."""
    connection: Any
    if client.is_https:
        connection = http.client.HTTPSConnection(client.host, context=client.http.conn._context)
    else:
        connection = http.client.HTTPConnection(client.host)
    connection.response_class = QuickResponse
    return connection


def _complete_body(response: http.client.HTTPResponse) -> bytes:
    body = response.read(MAX_REPLY_BYTES)
    if response.length:  # read() with a limit does not detect a truncated body
        raise http.client.IncompleteRead(body, response.length)
    return body
