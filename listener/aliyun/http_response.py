"""Reads the replies of MNS: the standard library parses headers as those of an e-mail, which takes longer than all
else about a reply."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, Final

#: As in the standard library.
MAX_LINE: Final = 65_536
MAX_HEADERS: Final = 100
_WITHOUT_BODY: Final = frozenset({http.client.NO_CONTENT, http.client.NOT_MODIFIED})


class QuickResponse(http.client.HTTPResponse):
    """A reply whose headers are a dictionary by lower-case names; of a header that comes twice, the first counts."""

    headers: Any
    msg: Any
    _read_status: Any  # of the standard library, like the next one: what its own ``begin`` consists of
    _check_close: Any
    _method: str | None

    def begin(self) -> None:
        """What the standard library does here, except for how headers are parsed."""
        if self.headers is not None:
            return
        version, status, reason = self._read_status()
        while 100 <= status < 200:  # interim: the reply follows
            read_headers(self.fp)
            version, status, reason = self._read_status()
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.code = self.status = status
        self.reason = reason.strip()
        self.headers = self.msg = read_headers(self.fp)
        without_body = status in _WITHOUT_BODY or self._method == "HEAD"
        has_chunks = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunked = has_chunks and not without_body
        self.chunk_left = None
        self.will_close = self._check_close()
        self.length = None if self.chunked else _length(self.headers)
        if without_body:
            # A body all the same, if the headers promise one, would be read as the next reply.
            self.will_close = self.will_close or has_chunks or bool(self.length)
            self.length = 0
        if not self.chunked and self.length is None:
            self.will_close = True


def read_headers(file: Any) -> Mapping[str, str]:
    """The headers of a reply, up to the empty line behind them. Raises HTTPException if they are too long or too many,
    or end without it.

    A line that is no header is ignored.
    """
    found: dict[str, str] = {}
    name = ""
    for _ in range(MAX_HEADERS + 1):
        line = file.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise http.client.LineTooLong("header line")
        if not line:
            raise http.client.RemoteDisconnected("the connection was closed within the headers")
        text = line.decode("iso-8859-1").rstrip("\r\n")
        if not text:
            return found
        if text[0] in " \t":
            if name:  # the continuation of the line before
                found[name] = f"{found[name]} {text.strip()}"
            continue
        name, colon, value = text.partition(":")
        name = name.lower() if colon and name.lower() not in found else ""
        if name:
            found[name] = value.strip()
    raise http.client.HTTPException(f"got more than {MAX_HEADERS} headers")


def _length(headers: Mapping[str, str]) -> int | None:
    try:
        length = int(headers.get("content-length", ""))
    except ValueError:
        return None
    return length if length >= 0 else None
