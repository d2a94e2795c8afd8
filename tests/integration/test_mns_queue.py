"""The queue adapter against the emulator, and against servers that are no MNS."""

from __future__ import annotations

import select as readiness
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from listener.aliyun import mns_connection, mns_connections
from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_connection import MnsConnection, MnsRequest, sdk_client
from listener.aliyun.mns_connections import MAX_CONNECTIONS
from listener.aliyun.mns_queue import MnsQueue
from listener.aliyun.request_count import OnRequest, not_counted
from listener.aliyun.timed_socket import BUFFER_BYTES
from listener.core import clock
from listener.core.errors import FailureKind, QueueUnavailable, SettingsError, UnavailableError
from listener.core.model import Message
from listener.core.queue_status import QueueStatus
from listener.emulator import Fault, FaultKind
from listener.emulator.mns.queue import draft
from listener.emulator.server import RunningEmulator
from listener.intake.recorder import Recorder
from listener.rules.routing import Correlation, Rule
from listener.runtime.metrics import Metrics
from listener.store.sql_store import SqlStore
from listener.store.tables import quarantine, results
from tests.support.builders import NOON, a_callback, a_message, wrapped
from tests.support.cases import each_case
from tests.support.dispatching import a_dispatcher
from tests.support.gate import certificate, server_tls
from tests.support.raw_server import Pieces, http_reply, serving
from tests.support.sqlite import new_sqlite_store
from tests.support.waiting import wait_until

NOW = timedelta(0)
LONG = timedelta(seconds=25)
KEY = AccessKey("testKeyId", "testKeySecret")
EMPTY = http_reply(
    b"<Error><Code>MessageNotExist</Code><Message>Message not exist.</Message></Error>",
    status="404 Not Found",
)


@contextmanager
def a_queue(
    url: str, *, queue: str = "q", key: AccessKey = KEY, on_request: OnRequest = not_counted
) -> Iterator[MnsQueue]:
    adapter = MnsQueue(
        endpoint=url, queue=queue, name="mine", credentials=Credentials(lambda: key), on_request=on_request
    )
    with closing(adapter):
        yield adapter


@pytest.fixture
def queue(server: RunningEmulator) -> Iterator[MnsQueue]:
    with a_queue(server.url) as queue:
        yield queue


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mns_connection, "CONNECT_TIMEOUT", timedelta(milliseconds=100))
    monkeypatch.setattr(mns_connection, "REPLY_TIMEOUT", timedelta(milliseconds=100))


def put(server: RunningEmulator, body: bytes, *, escape: bool = True) -> str:
    """Put a text into the queue; not escaped, it may well make the whole reply ill-formed."""
    url = f"{server.url}/_emulator/queues/q/messages?escape={str(escape).lower()}"
    reply = httpx.post(url, content=body, trust_env=False)
    assert reply.status_code == 201
    return str(reply.json()["MessageId"])


def counts(server: RunningEmulator) -> dict[str, int]:
    return server.call(lambda emulator: emulator.mns.queue("q").counts())


def parked(server: RunningEmulator) -> bool:
    return server.call(lambda emulator: len(emulator.mns.queue("q")._waiters)) > 0


def receive(queue: MnsQueue, *, wait: timedelta = NOW) -> Sequence[Message]:
    return queue.receive(limit=16, wait=wait)


@contextmanager
def receiving(queue: MnsQueue) -> Iterator[Callable[[], Sequence[Message]]]:
    """A long poll in a thread of its own; what is handed out waits for its messages."""
    found: list[Sequence[Message]] = []
    thread = threading.Thread(target=lambda: found.append(receive(queue, wait=LONG)))
    started = clock.monotonic()
    thread.start()

    def messages() -> Sequence[Message]:
        thread.join(20)
        assert found, "the poll did not end"
        assert clock.monotonic() - started < LONG.total_seconds() - 5
        return found[0]

    try:
        yield messages
    finally:
        thread.join(60)


def failure_of(url: str, *, queue: str = "q", key: AccessKey = KEY) -> QueueUnavailable:
    with a_queue(url, queue=queue, key=key) as adapter, pytest.raises(QueueUnavailable) as caught:
        receive(adapter)
    return caught.value


def test_every_request_is_counted_with_its_outcome() -> None:
    counted: list[tuple[str, str]] = []
    denied = http_reply(b"<Error><Code>AccessDenied</Code></Error>", status="403 Forbidden")
    with serving([EMPTY, denied, http_reply(b"", status="204 No Content")]) as server:
        queue = MnsQueue(
            endpoint=server.url,
            queue="q",
            name="q",
            credentials=Credentials(lambda: KEY),
            on_request=lambda operation, outcome: counted.append((operation, outcome)),
        )
        with closing(queue):
            receive(queue)
            with pytest.raises(QueueUnavailable):
                receive(queue)
            queue.delete([a_message()])

    assert counted == [("receive", "ok"), ("receive", "denied"), ("delete", "ok")]


@each_case(
    ("status", "body", "dates"),
    [
        pytest.param("404 Not Found", "<Error><Code>MessageNotExist</Code></Error>", [NOON], id="empty"),
        pytest.param("408 Timeout", "<Error><Code>TimeExpired</Code></Error>", [NOON], id="refused"),
        pytest.param("502 Bad Gateway", "<html>Bad gateway</html>", [], id="proxy"),
    ],
)
def test_the_date_of_a_reply_from_mns_is_passed_on(status: str, body: str, dates: list[datetime]) -> None:
    seen: list[datetime] = []
    date = format_datetime(NOON, usegmt=True)
    with serving([http_reply(body.encode(), status=status, headers=f"Date: {date}\r\n")]) as server:
        queue = MnsQueue(
            endpoint=server.url,
            queue="q",
            name="q",
            credentials=Credentials(lambda: KEY),
            on_date=seen.append,
        )
        with closing(queue), suppress(QueueUnavailable):
            receive(queue)

    assert seen == dates


@pytest.mark.parametrize(
    "date",
    [
        "",
        "tomorrow",
        "Thu, 99 Nov 2026 13:00:00 GMT",
        "Thu, 99999999999999999999 Nov 2026 13:00:00 GMT",
        "Thu, 27 Nov 2026 13:00:00 +99999999999",
    ],
)
def test_a_date_that_is_none_costs_no_message(date: str) -> None:
    body = b"<Messages><Message><MessageId>one</MessageId></Message></Messages>"
    with (
        serving([http_reply(body, headers=f"Date: {date}\r\n")]) as server,
        a_queue(server.url) as queue,
    ):
        assert [each.message_id for each in receive(queue)] == ["one"]


class TestReceiving:
    def test_messages_come_with_everything_that_mns_says_of_them(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        body = '<&>"é💥\n]]>'
        message_id = put(server, body.encode())

        (message,) = receive(queue)

        assert (message.message_id, message.body, message.dequeue_count) == (message_id, body, 1)
        assert message.receipt_handle
        assert message.enqueued_at is not None
        assert abs(message.enqueued_at - clock.now()) < timedelta(minutes=1)

    def test_an_empty_queue_is_no_error(self, queue: MnsQueue) -> None:
        assert receive(queue) == ()

    def test_no_more_than_the_limit_is_received(self, server: RunningEmulator, queue: MnsQueue) -> None:
        for _ in range(5):
            put(server, b"x")

        assert len(queue.receive(limit=3, wait=NOW)) == 3

    def test_a_long_poll_wakes_at_once(self, server: RunningEmulator, queue: MnsQueue) -> None:
        with receiving(queue) as messages:
            wait_until(lambda: parked(server))
            put(server, b"news")

            assert [message.body for message in messages()] == ["news"]

    def test_an_interrupt_ends_a_parked_poll_at_once(self, server: RunningEmulator, queue: MnsQueue) -> None:
        with receiving(queue) as messages:
            wait_until(lambda: parked(server))
            queue.interrupt()

            assert messages() == ()

    def test_an_interrupt_before_the_poll_ends_it_too(self, queue: MnsQueue) -> None:
        queue.interrupt()
        with receiving(queue) as messages:
            assert messages() == ()

    def test_what_was_received_may_be_deleted_after_an_interrupt(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        put(server, b"x")
        messages = receive(queue)
        queue.interrupt()

        assert queue.delete(messages) == []
        assert sum(counts(server).values()) == 0


class TestDeleting:
    def test_what_is_deleted_is_gone(self, server: RunningEmulator, queue: MnsQueue) -> None:
        for _ in range(16):
            put(server, b"x")

        assert queue.delete(receive(queue)) == []
        assert sum(counts(server).values()) == 0

    def test_those_whose_handles_are_no_good_are_returned(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        for _ in range(4):
            put(server, b"x")
        messages = receive(queue)
        queue.delete(messages[:2])

        assert list(queue.delete(messages)) == list(messages[:2])
        assert sum(counts(server).values()) == 0

    def test_expired_handles_are_returned(self, server: RunningEmulator, queue: MnsQueue) -> None:
        put(server, b"x")
        messages = receive(queue)
        server.call(lambda emulator: emulator.mns.queue("q").expire_handles())

        assert list(queue.delete(messages)) == list(messages)

    def test_a_message_without_a_handle_does_not_keep_the_others(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        put(server, b"x")
        lost = Message(message_id="lost", receipt_handle="", body="")

        assert queue.delete([lost, *receive(queue)]) == [lost]
        assert queue.delete([lost]) == [lost]
        assert sum(counts(server).values()) == 0


class TestSeveralRequests:
    """More messages than a request can bring or hold: several requests at the same time."""

    @pytest.fixture(autouse=True)
    def _deep(self, server: RunningEmulator) -> None:
        server.call(lambda emulator: emulator.mns.queue("q").send([draft(str(each)) for each in range(60)]))

    def test_those_that_fail_leave_the_others_what_they_bring(self, server: RunningEmulator) -> None:
        counted: list[tuple[str, str]] = []
        self._fail(server, "*Receive*", count=1)
        with a_queue(server.url, on_request=lambda *request: counted.append(request)) as queue:
            assert len(queue.receive(limit=16, wait=NOW, requests=3)) == 32
        assert sorted(counted) == [("receive", "ok"), ("receive", "ok"), ("receive", FailureKind.SERVER)]

    def test_it_is_an_error_if_all_fail(self, server: RunningEmulator, queue: MnsQueue) -> None:
        self._fail(server, "*", count=3)
        with pytest.raises(QueueUnavailable, match="InternalError"):
            queue.receive(limit=16, wait=NOW, requests=3)
        messages = queue.receive(limit=16, wait=NOW, requests=3)
        self._fail(server, "*", count=3)
        with pytest.raises(QueueUnavailable, match="InternalError"):
            queue.delete(messages)
        assert (len(messages), counts(server)["inactive"]) == (48, 48)

    def test_it_is_an_error_if_some_fail_and_the_others_bring_nothing(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        server.call(lambda emulator: emulator.mns.queue("q").expire_handles())
        while queue.delete(receive(queue)) or sum(counts(server).values()):
            pass
        self._fail(server, "*Receive*", count=1)
        with pytest.raises(QueueUnavailable, match="InternalError"):
            queue.receive(limit=16, wait=NOW, requests=3)
        assert queue.receive(limit=16, wait=NOW, requests=3) == []

    def test_messages_of_a_failed_delete_are_returned(self, server: RunningEmulator, queue: MnsQueue) -> None:
        messages = queue.receive(limit=16, wait=NOW, requests=3)
        self._fail(server, "*Delete*", count=1)
        left = queue.delete(messages)

        assert (len(left), counts(server)["inactive"], queue.delete(left)) == (16, 16, [])

    def test_an_interrupt_ends_all_that_wait_and_all_later_ones(self, server: RunningEmulator) -> None:
        with a_queue(server.url, queue="other") as queue:
            server.call(lambda emulator: emulator.mns.create("other"))
            queue.interrupt()
            assert queue.receive(limit=16, wait=LONG, requests=3) == []

    def test_an_interrupt_leaves_those_that_do_not_wait_what_they_bring(
        self, server: RunningEmulator
    ) -> None:
        """MNS has handed out these messages, and nobody else would get them before their visibility timeout."""
        server.call(
            lambda emulator: emulator.faults.add(
                [Fault(kind=FaultKind.LATENCY, operation="*Receive*", after=True)]
            )
        )
        with a_queue(server.url) as queue, ThreadPoolExecutor(1) as pool:
            received = pool.submit(queue.receive, limit=16, wait=NOW, requests=3)
            wait_until(lambda: counts(server)["inactive"] == 48)
            queue.interrupt()
            messages = received.result(30)
            assert len(messages) == 48
            assert queue.delete(messages) == []
            assert queue.receive(limit=16, wait=NOW, requests=3) == []

        assert counts(server) == {"active": 12, "inactive": 0, "delayed": 0}

    def test_an_abort_holds_for_connections_made_later(self, queue: MnsQueue) -> None:
        messages = receive(queue) + receive(queue)
        queue.abort()
        with pytest.raises(QueueUnavailable):
            queue.delete(messages)

    def test_a_server_that_is_gone_is_waited_for_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Connections that were open are tried again, and none is made for the others."""
        tried: list[MnsConnection] = []

        def connect(connection: MnsConnection, _http: object) -> None:
            tried.append(connection)
            raise TimeoutError

        monkeypatch.setattr(MnsConnection, "_connect", connect)
        counted: list[tuple[str, str]] = []
        with (
            a_queue("http://127.0.0.1:9", on_request=lambda *each: counted.append(each)) as queue,
            pytest.raises(QueueUnavailable),
        ):
            queue.receive(limit=16, wait=NOW, requests=8)
        assert len(tried) == 1
        assert counted == [("receive", FailureKind.TIMEOUT)]  # the others were never sent

    def test_more_messages_than_were_asked_for_are_deleted_by_few_connections(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        messages = [*queue.receive(limit=16, wait=NOW, requests=8)] * 4
        assert len(messages) > 16 * MAX_CONNECTIONS
        queue.delete(messages)

        assert len(queue._connections._connections) == MAX_CONNECTIONS
        assert sum(counts(server).values()) == 0

    def test_no_more_connections_are_made_once_connecting_has_taken_long(
        self, server: RunningEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is received would be redelivered before it is recorded."""
        monkeypatch.setattr(mns_connections, "CONNECT_TIMEOUT", timedelta(0))
        with a_queue(server.url) as queue:
            messages = queue.receive(limit=16, wait=NOW, requests=3)
            assert len(messages) == 16
            more = queue.receive(limit=16, wait=NOW, requests=3)
            assert len(queue.delete([*messages, *more])) == len(messages) + len(more) - 16

    def test_why_some_fail_is_logged_now_and_then(self, server: RunningEmulator, queue: MnsQueue) -> None:
        self._fail(server, "*Receive*", count=2)
        with capture_logs() as logs:
            for _ in range(2):
                queue.receive(limit=1, wait=NOW, requests=3)
        (line,) = logs
        assert line["event"] == "queue.request_failed"
        assert (line["operation"], line["kind"], line["failed"], line["requests"]) == (
            "receive",
            "server",
            2,
            3,
        )
        assert "InternalError" in line["error"]

    def test_all_connections_that_the_server_closed_are_made_anew(self, queue: MnsQueue) -> None:
        assert len(queue.receive(limit=16, wait=NOW, requests=2)) == 32
        for connection in queue._connections._connections:
            connection._hang_up()
        assert len(queue.receive(limit=14, wait=NOW, requests=2)) == 28

    def _fail(self, server: RunningEmulator, operation: str, *, count: int) -> None:
        fault = Fault(kind=FaultKind.ERROR, operation=operation, count=count)
        server.call(lambda emulator: emulator.faults.add([fault]))


class TestFaults:
    def test_a_missing_queue(self, server: RunningEmulator) -> None:
        error = failure_of(server.url, queue="other")

        assert (error.kind, error.code) == (FailureKind.MISSING, "QueueNotExist")
        assert f"queue other at {server.url}" in str(error)
        assert "create it in this region" in str(error)

    def test_a_missing_queue_at_delete(self, server: RunningEmulator) -> None:
        message = Message(message_id="m", receipt_handle="h", body="")
        with a_queue(server.url, queue="other") as queue, pytest.raises(QueueUnavailable) as caught:
            queue.delete([message])
        assert caught.value.kind is FailureKind.MISSING

    @pytest.mark.parametrize("key", [AccessKey("testKeyId", "wrong"), AccessKey("wrong", "testKeySecret")])
    def test_a_wrong_key(self, server: RunningEmulator, key: AccessKey) -> None:
        error = failure_of(server.url, key=key)

        assert error.kind is FailureKind.CREDENTIALS
        assert "id and secret belong together" in str(error)
        assert "testKeySecret" not in str(error)

    @pytest.mark.parametrize(
        "key", [AccessKey("test\nKey", "s"), AccessKey("id", "s", "token\r\n"), AccessKey("ключ", "s")]
    )
    def test_a_key_that_cannot_be_a_header(self, server: RunningEmulator, key: AccessKey) -> None:
        assert failure_of(server.url, key=key).kind is FailureKind.CREDENTIALS

    def test_no_key(self, server: RunningEmulator) -> None:
        def none() -> AccessKey:
            raise UnavailableError("no key", kind=FailureKind.CREDENTIALS, hint="set one")

        queue = MnsQueue(endpoint=server.url, queue="q", name="q", credentials=Credentials(none))
        with (
            closing(queue),
            pytest.raises(QueueUnavailable, match=r"queue q at .*: no key; set one") as caught,
        ):
            receive(queue)
        assert caught.value.kind is FailureKind.CREDENTIALS

    def test_a_bug_is_no_outage(self, server: RunningEmulator) -> None:
        def broken() -> AccessKey:
            raise KeyError("a bug")

        queue = MnsQueue(endpoint=server.url, queue="q", name="q", credentials=Credentials(broken))
        with closing(queue), pytest.raises(KeyError, match="a bug"):
            receive(queue)

    def test_a_clock_that_is_off_says_by_how_much(self) -> None:
        theirs = format_datetime(clock.now() + timedelta(minutes=20), usegmt=True)
        body = b"<Error><Code>TimeExpired</Code><Message>expired</Message></Error>"
        with serving([http_reply(body, status="408 Timeout", headers=f"Date: {theirs}\r\n")]) as raw:
            error = failure_of(raw.url)

        assert error.kind is FailureKind.CLOCK
        assert any(f"this clock is {seconds} s behind" in str(error) for seconds in range(1190, 1211))
        assert "correct the clock of this machine" in str(error)

    def test_connection_refused(self) -> None:
        with serving([b""]) as raw:
            url = raw.url
        assert failure_of(url).kind is FailureKind.REFUSED

    def test_a_host_that_no_resolver_knows(self) -> None:
        assert failure_of("http://mns.invalid").kind is FailureKind.DNS

    @each_case(
        ("status", "body", "kind"),
        [
            pytest.param(
                "502 Bad Gateway", b"<html>Bad <br> gateway</html>", FailureKind.SERVER, id="html-502"
            ),
            pytest.param("503 Unavailable", b"", FailureKind.SERVER, id="nothing-503"),
            pytest.param(
                "200 OK", b"<html><body><p>Log in</p></body></html>", FailureKind.PROTOCOL, id="portal"
            ),
            pytest.param("200 OK", b"<html>Log in <br>", FailureKind.PROTOCOL, id="ill-formed-portal"),
            pytest.param("200 OK", b"", FailureKind.PROTOCOL, id="nothing"),
            pytest.param("302 Found", b"", FailureKind.PROTOCOL, id="redirect"),
            pytest.param(
                "429 Slow",
                b"<Error><Code>TooManyRequests</Code></Error>",
                FailureKind.THROTTLED,
                id="throttled",
            ),
            pytest.param(
                "500 Oops", b"<Error><Code>InternalError</Code></Error>", FailureKind.SERVER, id="internal"
            ),
            pytest.param(
                "403 No", b"<Error><Code>AccessDenied</Code></Error>", FailureKind.DENIED, id="denied"
            ),
        ],
    )
    def test_replies_that_bring_no_message(self, status: str, body: bytes, kind: FailureKind) -> None:
        with serving([http_reply(body, status=status)]) as raw:
            error = failure_of(raw.url)

        assert error.kind is kind
        assert str(error).startswith(f"queue q at {raw.url}: ")

    @each_case(
        "reply",
        [b"SSH-2.0-OpenSSH_9.6\r\n", http_reply(b"x" * 99)[:-50], b""],
        ids=["no-http", "cut-off", "hung-up"],
    )
    def test_replies_that_are_no_http(self, reply: bytes) -> None:
        with serving([reply]) as raw:
            assert failure_of(raw.url).kind in (FailureKind.PROTOCOL, FailureKind.CONNECTION)

    @pytest.mark.usefixtures("impatient")
    def test_a_server_that_never_answers(self) -> None:
        with serving([None]) as raw:
            error = failure_of(raw.url)

        assert (error.kind, "timed out" in str(error)) == (FailureKind.TIMEOUT, True)

    def test_tls_to_a_plain_port(self) -> None:
        with serving([http_reply(status="400 Bad Request")]) as raw:
            error = failure_of(raw.url.replace("http:", "https:"))

        assert error.kind is FailureKind.TLS
        assert "verify the endpoint" in str(error)

    def test_an_endpoint_that_can_be_none(self) -> None:
        with pytest.raises(SettingsError, match=r"endpoint = 'ftp://x' is not valid"):
            MnsQueue(endpoint="ftp://x", queue="q", name="q", credentials=Credentials(lambda: KEY))

    def test_a_fault_that_passes_is_over(self, server: RunningEmulator) -> None:
        with serving([http_reply(status="502 Bad Gateway"), EMPTY]) as raw, a_queue(raw.url) as queue:
            with pytest.raises(QueueUnavailable):
                receive(queue)
            assert receive(queue) == ()


def test_a_connection_that_the_server_closed_while_idle_is_survived() -> None:
    with serving([EMPTY], [EMPTY, EMPTY]) as raw, a_queue(raw.url) as queue:
        assert [receive(queue) for _ in range(3)] == [(), (), ()]
        assert len(raw.requests) == 3


def arrived(connection: MnsConnection) -> bool:
    """Whether there is something to read from the peer."""
    return bool(readiness.select([connection._http.sock.connected], [], [], 0)[0])


def test_what_a_server_sends_unasked_is_no_reply_to_the_next_request() -> None:
    denied = http_reply(b"<Error><Code>AccessDenied</Code></Error>", status="403 Forbidden")
    # So that the end of the second reply is still in the system's buffer when the first one is complete.
    padding = b"HTTP/1.1 200 OK\r\n" * (BUFFER_BYTES // 8)
    with serving([EMPTY + padding + denied, EMPTY], [EMPTY]) as raw, a_queue(raw.url) as queue:
        assert receive(queue) == ()
        wait_until(lambda: arrived(queue._connections._connections[0]))
        assert receive(queue) == ()


def test_a_connection_over_tls_is_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the handshake the server sends session tickets, which are no reply."""
    pem = certificate(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with (
        serving([EMPTY] * 3, [b"another connection"], tls=server_tls(pem)) as raw,
        a_queue(raw.url.replace("127.0.0.1", "localhost")) as queue,
    ):
        assert [receive(queue) for _ in range(3)] == [(), (), ()]


def test_connections_of_a_queue_share_their_certificate_authorities() -> None:
    """Those of a usual system take 0.8 MB and 16 ms of CPU for each context."""
    with a_queue("https://127.0.0.1:9") as queue:
        first, second = queue._connections._enough_for(2)
        assert first._http is not second._http
        assert first._http._context is second._http._context


def test_what_had_arrived_before_an_interrupt_is_deleted_after_it() -> None:
    """Its connection is of no use any more, and another one is made."""
    request = MnsRequest("GET", "/queues/q/messages?numOfMessages=16&waitseconds=25", wait=LONG)
    deleted = http_reply(b"", status="204 No Content")
    with (
        serving([http_reply(messages_of(b"x")), None], [deleted]) as raw,
        closing(MnsConnection(sdk_client(raw.url, Credentials(lambda: KEY)))) as connection,
    ):
        assert connection.begin(request)
        wait_until(lambda: arrived(connection))
        connection.interrupt()
        reply = connection.finish()
        assert reply
        assert reply.body == messages_of(b"x")

        connection.begin(MnsRequest("DELETE", "/queues/q/messages", b"<ReceiptHandles/>"))
        reply = connection.finish()
        assert reply
        assert reply.status == 204


def test_an_interrupt_ends_a_reply_that_ends_with_its_connection() -> None:
    trickle = Pieces(
        first=b"HTTP/1.0 200 OK\r\nContent-Length: 2000\r\n\r\n", repeated=b"<", times=1000, pause=0.05
    )
    with serving([trickle]) as raw, a_queue(raw.url) as queue:
        (connection,) = queue._connections._connections
        with receiving(queue) as messages:
            wait_until(lambda: connection._http.sock is None and connection._socket is not None)
            queue.interrupt()
            assert messages() == ()


def test_a_closed_queue_connects_anew(server: RunningEmulator, queue: MnsQueue) -> None:
    assert receive(queue) == ()
    queue.close()
    put(server, b"x")

    assert len(receive(queue)) == 1


class TestStatus:
    def test_reading_them_touches_no_message(self, server: RunningEmulator, queue: MnsQueue) -> None:
        put(server, b"x")

        assert queue.status() == QueueStatus(
            retention=timedelta(days=4),
            visibility_timeout=timedelta(seconds=30),
            delay=timedelta(0),
            polling_wait=timedelta(0),
            maximum_message_size=65_536,
            active=1,
            inactive=0,
            delayed=0,
        )
        assert receive(queue)[0].dequeue_count == 1

    def test_those_of_what_is_no_queue_are_an_error(self) -> None:
        with (
            serving([http_reply(b"<html>Log in</html>")]) as raw,
            a_queue(raw.url) as queue,
            pytest.raises(QueueUnavailable, match="not from MNS"),
        ):
            queue.status()

    def test_a_key_that_may_only_receive_gets_none(self) -> None:
        denied = http_reply(b"<Error><Code>AccessDenied</Code></Error>", status="403 Forbidden")
        with serving([denied]) as raw, a_queue(raw.url) as queue:
            assert queue.status() is None

    def test_what_is_no_number_is_not_known(self) -> None:
        body = b"<Queue><DelaySeconds>soon</DelaySeconds><VisibilityTimeout>999999999999</VisibilityTimeout></Queue>"
        with serving([http_reply(body)]) as raw, a_queue(raw.url) as queue:
            assert queue.status() == QueueStatus()

    @each_case(("enabled", "count"), [("true", 5), ("false", None)])
    def test_a_dead_letter_policy_is_found_wherever_it_is(self, enabled: str, count: int | None) -> None:
        policy = f"<Enabled>{enabled}</Enabled><MaxReceiveCount>5</MaxReceiveCount>"
        body = f"<Queue><DlqPolicy>{policy}</DlqPolicy></Queue>".encode()
        with serving([http_reply(body)]) as raw, a_queue(raw.url) as queue:
            assert queue.status() == QueueStatus(max_receive_count=count)


def messages_of(*bodies: bytes) -> bytes:
    """A reply of MNS that brings these bodies as they are, escaped or not."""
    elements = (
        b"<Message><MessageId>%d</MessageId><ReceiptHandle>h%d</ReceiptHandle>"
        b"<MessageBody>%b</MessageBody></Message>" % (number, number, body)
        for number, body in enumerate(bodies)
    )
    return b"<Messages>%b</Messages>" % b"".join(elements)


#: Ill-formed replies of about the given size.
ILL_FORMED: dict[str, Callable[[int], bytes]] = {
    "open-messages": lambda size: b"<Messages>" + b"<Message>" * (size // 9),
    "empty-messages": lambda size: b"&" + b"<Message></Message>" * (size // 19),
    "open-bodies": lambda size: messages_of(b"<MessageBody>" * (size // 13)),
    "closed-bodies": lambda size: messages_of(b"</MessageBody>" * (size // 14)),
    "ampersands": lambda size: messages_of(b"&" * size),
    "digits": lambda size: messages_of(b"&#" + b"9" * size + b";"),
    "open-comment": lambda size: b"<Messages><!-- " + b"-" * size,
    "many-elements": lambda size: b"<a>" * (size // 7) + b"</a>" * (size // 7),
}


def seconds_to_decode(reply: bytes) -> float:
    """The best of three, in seconds of this thread's CPU, as the machine may be busy."""
    best = float("inf")
    for _ in range(3):
        with serving([http_reply(reply)]) as raw, a_queue(raw.url) as queue:
            started = time.thread_time()
            with suppress(QueueUnavailable):
                receive(queue)
            best = min(best, time.thread_time() - started)
    return best


class TestSalvage:
    @pytest.mark.parametrize("case", ILL_FORMED)
    def test_time_grows_with_the_size_of_an_ill_formed_reply_and_not_with_its_square(self, case: str) -> None:
        """Sixteen times the size may take eighty times as long, but not 256 times."""
        small, large = (seconds_to_decode(ILL_FORMED[case](size)) for size in (8_192, 131_072))

        assert large < max(small, 1e-3) * 80

    def test_a_body_that_cannot_be_unescaped_costs_no_other(self) -> None:
        bodies = (b"one", b"\x01&#" + b"9" * 5_000 + b";", b"two &lt;")
        with serving([http_reply(messages_of(*bodies))]) as raw, a_queue(raw.url) as queue:
            messages = receive(queue)

        assert [message.body for message in messages] == ["one", bodies[1].decode(), "two <"]
        assert [message.receipt_handle for message in messages] == ["h0", "h1", "h2"]

    def test_messages_before_a_truncated_one_are_salvaged(self) -> None:
        reply = messages_of(*(b"body %d" % number for number in range(16)))
        with serving([http_reply(reply[:-30])]) as raw, a_queue(raw.url) as queue:
            assert [message.body for message in receive(queue)] == [f"body {n}" for n in range(15)]

    def test_an_ill_formed_body_does_not_take_its_neighbours_along(
        self, server: RunningEmulator, queue: MnsQueue
    ) -> None:
        put(server, b"before")
        put(server, b"a < b & \x01\xff", escape=False)
        put(server, b"after &lt;3", escape=False)

        messages = receive(queue)

        assert [message.body for message in messages] == ["before", "a < b & \x01\ufffd", "after <3"]
        assert all(message.receipt_handle and message.message_id for message in messages)
        assert queue.delete(messages) == []
        assert sum(counts(server).values()) == 0

    def test_one_bad_message_of_a_batch_of_16_costs_no_other(
        self, server: RunningEmulator, queue: MnsQueue, tmp_path: Path
    ) -> None:
        bodies = [wrapped(a_callback(JobId=f"job-{number}")).encode() for number in range(14)]
        for body in bodies[:7]:
            put(server, body)
        put(server, b"\x01\x02 garbled <", escape=False)
        put(server, b"")
        for body in bodies[7:13]:
            put(server, body)
        send_with_property(server, bodies[13], kind="HOLOGRAM")

        with new_sqlite_store(tmp_path) as store:
            messages = receive(queue)
            summary = a_recorder(store).record("q", messages)
            with store.database.read() as connection:
                ids = set(connection.scalars(select(results.c.job_id)))
                reasons = list(connection.scalars(select(quarantine.c.reason)))

        assert (len(messages), summary.new, summary.quarantined) == (16, 14, 2)
        assert ids == {f"job-{number}" for number in range(14)}
        assert sorted(reason[:25] for reason in reasons) == [
            "the body is neither JSON ",
            "the message has no body",
        ]
        assert queue.delete(messages) == []
        assert sum(counts(server).values()) == 0


def a_recorder(store: SqlStore) -> Recorder:
    rules = (Rule(name="videos", handlers=("log",)),)
    sink = a_dispatcher(store, lambda _result: None, meter=Metrics())
    return Recorder(store=store, rules=rules, correlation=Correlation(), sink=sink)


def send_with_property(server: RunningEmulator, body: bytes, *, kind: str) -> None:
    """Without a request, since the emulator refuses a property of an unknown kind."""
    value = f"<Name>n</Name><Value>v</Value><Type>{kind}</Type>"
    properties = f"<UserProperties><PropertyValue>{value}</PropertyValue></UserProperties>"
    message = replace(draft(body.decode()), properties=properties)
    server.call(lambda emulator: emulator.mns.queues["q"].send([message]))
