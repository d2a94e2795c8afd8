"""Who listens at an address: a daemon says its name, any other program has none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from listener.http.address import bind
from listener.http.health_query import daemon_at
from tests.support.cases import each_case
from tests.support.program import unused_endpoint


@pytest.mark.parametrize(
    ("body", "name"),
    [
        pytest.param(b'{"ok": true, "daemon": "web1:7:abc"}', "web1:7:abc", id="daemon"),
        pytest.param(b'{"ok": true}', "", id="no-name"),
        pytest.param(b'{"daemon": 7}', "", id="no-text"),
        pytest.param(b"[]", "", id="no-object"),
        pytest.param(b"<html>", "", id="no-json"),
        pytest.param(b"[" * 60_000, "", id="deep"),
    ],
)
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_only_a_daemon_has_a_name(tmp_path: Path, over: str, body: bytes, name: str) -> None:
    listen = "127.0.0.1:0" if over == "tcp" else f"unix:{tmp_path / 'http.sock'}"
    with bind(listen) as listening:

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        server = threading.Thread(target=answer)
        server.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}" if over == "tcp" else listen
        assert daemon_at(address) == name
        server.join()


@each_case("words", [b"", b"SSH-2.0-OpenSSH\r\n"])
def test_a_program_that_speaks_no_http_has_no_name(words: bytes) -> None:
    with bind("127.0.0.1:0") as listening:

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(words)

        server = threading.Thread(target=answer)
        server.start()
        assert daemon_at(f"127.0.0.1:{listening.getsockname()[1]}") == ""
        server.join()


def test_where_nothing_listens_there_is_no_name(tmp_path: Path) -> None:
    assert daemon_at(unused_endpoint().removeprefix("http://")) == ""
    assert daemon_at(f"unix:{tmp_path / 'http.sock'}") == ""
