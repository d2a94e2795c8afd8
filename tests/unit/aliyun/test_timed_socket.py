"""Sending and receiving until a deadline, over pairs of real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from typing import Any

import pytest

from listener.aliyun import timed_socket
from listener.aliyun.timed_socket import TimedSocket
from listener.core import clock

Pair = tuple[TimedSocket, socket.socket]
#: More than the buffers of a pair of sockets hold.
LARGE = b"x" * 8_000_000


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our side, and that of the peer."""
    with _pair() as both:
        yield both


@contextmanager
def _pair(*, seconds: float = 20) -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    timed = TimedSocket(ours)
    timed.deadline = clock.monotonic() + seconds
    with closing(timed), closing(theirs):
        yield timed, theirs


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not thread.is_alive()


def test_everything_is_sent_in_one_piece_by_flush(pair: Pair) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    ours.sendall(b"headers, ")
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    ours.sendall(b"body")
    ours.flush()

    assert theirs.recv(100) == b"headers, body"
    ours.flush()
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


def test_what_is_larger_than_the_buffers_is_sent_while_the_peer_reads(pair: Pair) -> None:
    ours, theirs = pair
    received: list[int] = []

    def read() -> None:
        while sum(received) < len(LARGE):
            received.append(len(theirs.recv(1_000_000)))

    with meanwhile(read):
        ours.sendall(LARGE)
        ours.flush()

    assert sum(received) == len(LARGE)


def test_what_arrives_later_is_waited_for(pair: Pair) -> None:
    ours, theirs = pair
    with ours.makefile("rb") as file:
        theirs.sendall(b"la")
        with meanwhile(lambda: theirs.sendall(b"te\n")):
            assert file.readline() == b"late\n"


def test_a_peer_that_hangs_up_ends_what_is_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"cut")
    theirs.close()

    with ours.makefile("rb") as file:
        assert file.read(100) == b"cut"


def test_what_was_opened_can_be_read_after_the_socket_was_closed(pair: Pair) -> None:
    """As ``http.client`` does if the reply is the last one of its connection."""
    ours, theirs = pair
    with ours.makefile("rb") as file:
        ours.close()
        theirs.sendall(b"last")
        theirs.close()

        assert file.read(100) == b"last"


def test_only_bytes_can_be_read(pair: Pair) -> None:
    with pytest.raises(ValueError, match="mode = 'r'"):
        pair[0].makefile("r")


@pytest.mark.parametrize("seconds", [0.05, 0, -1])
def test_a_peer_that_sends_nothing_is_waited_for_until_the_deadline(seconds: float) -> None:
    with _pair(seconds=seconds) as (ours, _theirs), ours.makefile("rb") as file, pytest.raises(TimeoutError):
        file.readline()


def test_a_peer_that_reads_nothing_is_waited_for_until_the_deadline() -> None:
    with _pair(seconds=0.05) as (ours, _theirs):
        ours.sendall(LARGE)
        with pytest.raises(TimeoutError):
            ours.flush()


def test_single_bytes_do_not_extend_the_deadline() -> None:
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.005):
            theirs.send(b"x")

    with _pair(seconds=0.1) as (ours, theirs), ours.makefile("rb") as file, meanwhile(trickle):
        with pytest.raises(TimeoutError):
            file.readline()
        over.set()


def test_a_read_that_waits_ends_when_another_thread_shuts_the_socket_down(pair: Pair) -> None:
    ours, _theirs = pair
    with ours.makefile("rb") as file, meanwhile(lambda: ours.connected.shutdown(socket.SHUT_RDWR)):
        assert file.readline() == b""


class Stubborn(socket.socket):
    """Wants to write before it can be read, and to read before it can be written, as TLS does when it renegotiates."""

    wants: ssl.SSLError | None = None

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._complain()
        return super().send(data, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self._complain()
        return super().recv_into(buffer, nbytes, flags)

    def _complain(self) -> None:
        wants, self.wants = self.wants, None
        if wants is not None:
            raise wants


@pytest.mark.parametrize("wants", [ssl.SSLWantWriteError, ssl.SSLWantReadError])
def test_tls_may_have_to_read_in_order_to_write_and_the_other_way_round(wants: type[ssl.SSLError]) -> None:
    ours, theirs = socket.socketpair()
    with closing(Stubborn(fileno=ours.detach())) as stubborn, closing(theirs):
        timed = TimedSocket(stubborn)
        timed.deadline = clock.monotonic() + 20
        theirs.sendall(b"reply\n")
        stubborn.wants = wants()
        timed.sendall(b"request\n")
        timed.flush()
        stubborn.wants = wants()
        with timed.makefile("rb") as file:
            assert file.readline() == b"reply\n"
        assert theirs.recv(100) == b"request\n"


def test_a_connection_is_in_step_while_nothing_arrives(pair: Pair) -> None:
    assert pair[0].is_in_step()


@pytest.mark.parametrize("done", ["sent", "closed", "reset"])
def test_what_no_request_asked_for_is_noticed(pair: Pair, done: str) -> None:
    ours, theirs = pair
    if done == "sent":
        theirs.sendall(b"HTTP/1.1 200 OK\r\n")
    elif done == "closed":
        theirs.close()
    else:  # a peer that closes with something unread resets the connection
        ours.sendall(b"x")
        ours.flush()
        theirs.close()

    assert not ours.is_in_step()


def test_data_that_never_ends_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never waited for, so that no deadline ends it."""
    monkeypatch.setattr(timed_socket, "MAX_BYTES", 10)
    with _pair() as (ours, theirs), ours.makefile("rb") as file:
        theirs.sendall(b"x" * 11)
        with pytest.raises(HTTPException, match="more than 10 bytes"):
            file.readline()
