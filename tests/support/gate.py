"""A gate between the listener and the emulator, over http or https, that a test can make misbehave.

Each request is passed on, unless the gate's mode says what to do instead. A connection that a fault has hit stays hit
until the client gives it up, as it would with a real peer.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.raw_server import http_reply

PASS: Final = "pass"
SILENT: Final = "silent"  #: takes the request, never answers
SWALLOW: Final = "swallow"  #: passes the request on, keeps the reply: half of the connection is dead
TRICKLE: Final = "trickle"  #: a byte of the reply now and then
CUT: Final = "cut"  #: half of the reply, then a TCP reset
RESET: Final = "reset"
HTML: Final = "html"
UNAVAILABLE: Final = "503"
THROTTLED: Final = "429"
TRICKLE_PAUSE: Final = 0.2

PAGE = b"<html><body><h1>Proxy</h1>Please sign in.</body></html>"
REPLIES: Final = {
    HTML: http_reply(PAGE, headers="Content-Type: text/html\r\n"),
    UNAVAILABLE: http_reply(PAGE, status="503 Service Unavailable", headers="Content-Type: text/html\r\n"),
    THROTTLED: http_reply(status="429 Too Many Requests"),
}


class Gate:
    """One port. ``mode`` may be changed at any time and holds for requests from then on."""

    def __init__(self, upstream: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.mode = PASS
        self.tls = tls
        self.requests: Counter[str] = Counter()  #: by the mode that they met
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._closing = threading.Event()
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://localhost:{self._listening.getsockname()[1]}"

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Whatever either side does to a connection is what these tests are about.
        with suppress(OSError), client:
            if self.tls:
                self.requests["tls"] += 1
                client = self.tls.wrap_socket(client, server_side=True)
            with client:
                while request := _read_http(client):
                    self._answer(client, request)

    def _answer(self, client: socket.socket, request: bytes) -> None:
        mode = self.mode
        self.requests[mode] += 1
        if mode in REPLIES:
            client.sendall(REPLIES[mode])
        elif mode == SILENT:
            _hold(client)
        elif mode == RESET:
            _reset(client)
        elif mode == TRICKLE:
            self._trickle(client)
        else:
            self._pass_on(client, request, mode)

    def _pass_on(self, client: socket.socket, request: bytes, mode: str) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream)) as upstream:
            upstream.sendall(request)
            reply = _read_http(upstream)
        if mode == PASS:
            client.sendall(reply)
        elif mode == CUT:
            client.sendall(reply[: len(reply) - 20])
            _reset(client)
        else:
            _hold(client)

    def _trickle(self, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not self._closing.wait(TRICKLE_PAUSE):
            client.sendall(b" ")


def _hold(client: socket.socket) -> None:
    """Keep the connection open until the client has had enough."""
    client.recv(1)
    raise ConnectionAbortedError


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The plain socket's, since TLS would say goodbye first.
    socket.socket.close(client)
    raise ConnectionAbortedError


def _read_http(connection: socket.socket) -> bytes:
    """One request or reply with its body, as given by the length in its head; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65_536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = _length(head)
    while len(body) < length:
        if not (more := connection.recv(65_536)):
            return b""
        body += more
    return head + b"\r\n\r\n" + body


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@contextmanager
def gate(upstream: int, *, tls: ssl.SSLContext | None = None) -> Iterator[Gate]:
    """A gate that is open for the length of a ``with``."""
    opened = Gate(upstream, tls=tls)
    opened.start()
    try:
        yield opened
    finally:
        opened.close()


def certificate(folder: Path, name: str) -> Path:
    """A certificate for localhost, signed by itself, with its key in the same PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(encoding) + private)
    return path


def server_tls(pem: Path) -> ssl.SSLContext:
    """The server's side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
