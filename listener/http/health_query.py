"""Asks a daemon that listens at an address what it tells everyone: who it is, whether it is ready, its metrics."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from listener.http.address import UNIX

#: How long a listening process has to answer.
TIMEOUT_SECONDS: Final = 2.0
_MAX_BODY: Final = 4 << 20


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
    name = document_at(listen, "/healthz").get("daemon")
    return name if isinstance(name, str) else ""


def document_at(listen: str, path: str) -> Mapping[str, Any]:
    """The JSON object at this path, whatever the status; empty if there is no answer, or another one."""
    try:
        answer = json.loads(text_at(listen, path))
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def text_at(listen: str, path: str) -> str:
    """What is at this path, whatever the status; empty if there is no answer."""
    connection = (
        _UnixConnection(listen.removeprefix(UNIX))
        if listen.startswith(UNIX)
        else HTTPConnection(listen, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().read(_MAX_BODY).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError):
        return ""
    finally:
        connection.close()
