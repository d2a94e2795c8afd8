"""Asks which daemon listens at an address, as health checks do."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Final

from listener.http.address import UNIX

#: How long a listening process has to answer.
TIMEOUT_SECONDS: Final = 2.0
_MAX_BODY: Final = 64 * 1024


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def daemon_at(listen: str) -> str:
    """The name of the daemon that listens at ``host:port`` or ``unix:/path``; empty if it is another program."""
    connection = (
        _UnixConnection(listen.removeprefix(UNIX))
        if listen.startswith(UNIX)
        else HTTPConnection(listen, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read(_MAX_BODY))
    except (OSError, HTTPException, ValueError, RecursionError):
        return ""
    finally:
        connection.close()
    name = answer.get("daemon") if isinstance(answer, dict) else None
    return name if isinstance(name, str) else ""
