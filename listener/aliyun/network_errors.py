"""Classifies the exceptions of sockets, TLS and HTTP."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import traceback
from collections.abc import Sequence

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
    FailureKind.REFUSED: "verify the endpoint, and that the service is running",
    FailureKind.TLS: "verify the endpoint, and that this machine trusts its certificate authority",
    FailureKind.DNS: "verify the host name of the endpoint, and that this machine can resolve it",
}


def failure_kind(error: BaseException) -> FailureKind:
    """The class of a network error; CONNECTION if it is none of the known ones."""
    return next((kind for each, kind in _KINDS if isinstance(error, each)), FailureKind.CONNECTION)


def root_cause(error: BaseException) -> BaseException:
    """The innermost error of a chain."""
    return chain(error)[-1]


def chain(error: BaseException) -> Sequence[BaseException]:
    """The error with all that it wraps: libraries wrap the error of the socket several times."""
    found = [error]
    while True:
        inner = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException) or any(inner is each for each in found):
            return found
        found.append(inner)
        error = inner


def is_of_handshake(error: BaseException) -> bool:
    """Whether this is an error of TLS from before anything could be sent. Later ones have the same types, so that only
    the traceback tells."""
    if not isinstance(error, ssl.SSLError):
        return False
    called = {frame.f_code.co_name for frame, _line in traceback.walk_tb(error.__traceback__)}
    return isinstance(error, ssl.SSLCertVerificationError) or "do_handshake" in called


def describe(error: BaseException) -> str:
    """A short description of the error."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and _has_plain_text(error):
        return str(error.strerror).lower()
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _has_plain_text(error: OSError) -> bool:
    """Whether its text is that of the system, which is understood without the number."""
    return bool(error.strerror) and (error.errno in errno.errorcode or isinstance(error, socket.gaierror))
