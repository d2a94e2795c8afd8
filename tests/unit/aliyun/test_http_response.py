"""Replies are read as the standard library reads them."""

from __future__ import annotations

import http.client
import io
from typing import Any

import pytest

from listener.aliyun.http_response import MAX_HEADERS, MAX_LINE, QuickResponse
from tests.support.cases import each_case

STATUS = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"


class Wire:
    """What a reply is read from, in place of a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def reply(kind: type[http.client.HTTPResponse], content: bytes) -> Any:
    response = kind(Wire(content))  # type: ignore[arg-type]  # of a socket it needs no more
    response.begin()
    return response


@each_case(
    "content",
    [
        pytest.param(STATUS + LENGTH + b"Date: now\r\n\r\nok", id="usual"),
        pytest.param(STATUS + b"content-length:2\r\nDATE:  now \r\n\r\nokrest", id="spelling"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="no-content"),
        pytest.param(STATUS + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", id="chunked"),
        pytest.param(STATUS + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n0\r\n\r\n", id="both"),
        pytest.param(STATUS + b"\r\nup to the end", id="no-length"),
        pytest.param(STATUS + b"Content-Length: -1\r\n\r\nok", id="negative-length"),
        pytest.param(STATUS + b"Content-Length: two\r\n\r\nok", id="no-number"),
        pytest.param(STATUS + LENGTH + b"Content-Length: 9\r\n\r\nok", id="twice"),
        pytest.param(STATUS + LENGTH + b"Connection: close\r\n\r\nok", id="close"),
        pytest.param(STATUS + LENGTH + b"Date: a\r\n b\r\n\r\nok", id="continued"),
        pytest.param(b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\nok", id="old"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + STATUS + LENGTH + b"\r\nok", id="after-continue"
        ),
        pytest.param(STATUS + LENGTH + "Server: \xdf".encode("latin-1") + b"\r\n\r\nok", id="8-bit"),
    ],
)
def test_a_reply_is_the_same_as_the_standard_library_reads_it(content: bytes) -> None:
    ours, theirs = reply(QuickResponse, content), reply(http.client.HTTPResponse, content)

    for name in ("status", "version", "reason", "chunked", "length", "will_close"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert " ".join(ours.headers.get("date", "").split()) == " ".join(theirs.headers.get("Date", "").split())
    assert ours.read() == theirs.read()


@each_case(
    "content",
    [
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="another-version"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="another-protocol"),
        pytest.param(b"", id="nothing"),
        pytest.param(STATUS + b"A: " + b"b" * MAX_LINE + b"\r\n\r\n", id="long-line"),
        pytest.param(STATUS + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", id="many-headers"),
    ],
)
def test_what_the_standard_library_refuses_is_refused(content: bytes) -> None:
    for kind in (http.client.HTTPResponse, QuickResponse):
        with pytest.raises((http.client.HTTPException, OSError)):
            reply(kind, content)


def test_a_line_that_is_no_header_is_ignored() -> None:
    response = reply(QuickResponse, STATUS + b"nonsense\r\n more of it\r\n" + LENGTH + b"\r\nok")

    assert (response.length, response.read()) == (2, b"ok")


@each_case(
    "interim",
    [
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n", id="processing"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3, id="hints"),
    ],
)
def test_interim_replies_are_not_taken_for_the_reply(interim: bytes) -> None:
    response = reply(QuickResponse, interim + STATUS + LENGTH + b"\r\nok")

    assert (response.status, response.read()) == (200, b"ok")


@each_case(
    ("headers", "will_close"),
    [
        pytest.param(b"", False, id="none"),
        pytest.param(b"Content-Length: 0\r\n", False, id="no-bytes"),
        pytest.param(b"Content-Length: 2\r\n", True, id="bytes"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", True, id="chunks"),
    ],
)
def test_a_body_where_none_can_be_is_not_waited_for_and_ends_the_connection(
    headers: bytes, will_close: bool
) -> None:
    response = reply(QuickResponse, b"HTTP/1.1 204 No Content\r\n" + headers + b"\r\n")

    assert (response.will_close, response.read()) == (will_close, b"")


@each_case("content", [STATUS, STATUS + b"Content-Len", STATUS + LENGTH])
def test_headers_that_do_not_end_are_those_of_a_lost_connection(content: bytes) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        reply(QuickResponse, content)
