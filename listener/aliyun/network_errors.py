"""Why something could not be reached, read off the exceptions of sockets, TLS and HTTP."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

from listener.core.errors import Fault

_KINDS: tuple[tuple[type[BaseException], Fault], ...] = (
    (ConnectionRefusedError, Fault.REFUSED),
    (ssl.SSLError, Fault.TLS),
    (TimeoutError, Fault.TIMEOUT),
    (socket.gaierror, Fault.DNS),
    (http.client.RemoteDisconnected, Fault.CONNECTION),
    (http.client.IncompleteRead, Fault.CONNECTION),
    (http.client.HTTPException, Fault.PROTOCOL),
    (OSError, Fault.CONNECTION),
)
ADVICE = {
    Fault.REFUSED: "nothing listens there; see that the endpoint is right and the service runs",
    Fault.TLS: "see that the endpoint is right and that its certificate authority is trusted here",
    Fault.DNS: "see that the endpoint's host name is right and that this machine can resolve it",
}


def fault_of(error: BaseException) -> Fault:
    """The class of a network error; CONNECTION where nothing better is known."""
    return next((fault for kind, fault in _KINDS if isinstance(error, kind)), Fault.CONNECTION)


def root_cause(error: BaseException) -> BaseException:
    """The error at the bottom of a chain: libraries wrap the socket's own error several times."""
    seen = {id(error)}
    while True:
        inner = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return error
        seen.add(id(inner))
        error = inner


def said(error: BaseException) -> str:
    """The error in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno in errno.errorcode and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
