"""Why something could not be reached, read off the exceptions of sockets, TLS and HTTP."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

from listener.core.errors import FailureKind

_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (ConnectionRefusedError, FailureKind.REFUSED),
    (ssl.SSLError, FailureKind.TLS),
    (TimeoutError, FailureKind.TIMEOUT),
    (socket.gaierror, FailureKind.DNS),
    (http.client.RemoteDisconnected, FailureKind.CONNECTION),
    (http.client.IncompleteRead, FailureKind.CONNECTION),
    (http.client.HTTPException, FailureKind.PROTOCOL),
    (OSError, FailureKind.CONNECTION),
)
HINTS = {
    FailureKind.REFUSED: "nothing listens there; see that the endpoint is right and the service runs",
    FailureKind.TLS: "see that the endpoint is right and that its certificate authority is trusted here",
    FailureKind.DNS: "see that the endpoint's host name is right and that this machine can resolve it",
}


def failure_kind(error: BaseException) -> FailureKind:
    """The class of a network error; CONNECTION where nothing better is known."""
    return next((kind for each, kind in _KINDS if isinstance(error, each)), FailureKind.CONNECTION)


def root_cause(error: BaseException) -> BaseException:
    """The error at the bottom of a chain: libraries wrap the socket's own error several times."""
    seen = {id(error)}
    while True:
        inner = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return error
        seen.add(id(inner))
        error = inner


def describe(error: BaseException) -> str:
    """The error in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno in errno.errorcode and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
