from __future__ import annotations

import contextvars
import hashlib
import json
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listener.handlers.webhook import requested_delay, webhook
from standardwebhooks import Webhook as Verifier

from listener import Reject, Retry, Unavailable
from listener.core.call_deadline import set_call_deadline
from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import load
from tests.support.gate import certificate, server_tls
from tests.support.raw_server import Pieces, http_reply, serving
from tests.support.receiver import Receiver
from tests.support.results import a_job_result

SECRET = "whsec_dGVzdEtleVNlY3JldA=="
NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
KEYS = ["job:Success:captions/webhook", "作业:Success", "with space", "line\nbreak", "k" * 500, "\ud800", ""]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


def test_webhooks_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(create(*args, **options))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    for number in range(3):
        webhook(url=f"https://127.0.0.1:9/{number}").close()

    assert len(made) <= 1  # none, if an earlier test has made it


@pytest.mark.parametrize("key", KEYS)
def test_the_receiver_can_verify_every_request(key: str, receiver: Receiver, secret_file: Path) -> None:
    result = a_job_result(key=key)

    webhook(url=receiver.url, secret_file=secret_file)(result)

    [request] = receiver.requests
    assert Verifier(SECRET).verify(request.body, dict(request.headers)) == result.to_document()


@pytest.mark.parametrize("key", KEYS)
def test_the_id_is_the_same_for_every_attempt(key: str, receiver: Receiver) -> None:
    handler = webhook(url=receiver.url)

    handler(a_job_result(key=key, attempt=1))
    handler(a_job_result(key=key, attempt=2))

    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_ids_of_different_keys_differ(receiver: Receiver) -> None:
    handler = webhook(url=receiver.url)

    for key in KEYS:
        handler(a_job_result(key=key))

    assert len({request.headers["webhook-id"] for request in receiver.requests}) == len(KEYS)


def test_a_plain_key_is_the_id_and_any_other_is_hashed(receiver: Receiver) -> None:
    handler = webhook(url=receiver.url)

    handler(a_job_result(key="job:Success"))
    handler(a_job_result(key="作业"))

    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids == ["job:Success", hashlib.sha256("作业".encode()).hexdigest()]


def test_bare_base64_is_a_secret_too(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "bare").write_text(SECRET.removeprefix("whsec_").rstrip("="))

    webhook(url=receiver.url, secret_file=tmp_path / "bare")(a_job_result())

    [request] = receiver.requests
    assert Verifier(SECRET).verify(request.body, dict(request.headers))


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    webhook(url=receiver.url)(a_job_result())

    [request] = receiver.requests
    assert "webhook-signature" not in request.headers
    assert json.loads(request.body) == a_job_result().to_document()


def test_own_headers_are_added_but_never_displace_the_scheme(receiver: Receiver) -> None:
    webhook(url=receiver.url, headers={"X-Team": "video", "Webhook-Id": "mine", "User-Agent": "us"})(
        a_job_result()
    )

    [request] = receiver.requests
    assert request.headers["x-team"] == "video"
    assert request.headers["user-agent"] == "us"
    assert request.headers["webhook-id"] == a_job_result().key


@pytest.mark.parametrize("traceparent", ["", f"00-{'a' * 32}-{'b' * 16}-01"])
def test_the_receiver_can_continue_the_trace(traceparent: str, receiver: Receiver) -> None:
    webhook(url=receiver.url, headers={"x-own": "1"})(a_job_result(traceparent=traceparent))

    [request] = receiver.requests
    assert dict(request.headers).get("traceparent", "") == traceparent


def test_user_agent_names_us(receiver: Receiver) -> None:
    webhook(url=receiver.url)(a_job_result())

    assert receiver.requests[0].headers["user-agent"].startswith("mns-listener/")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        pytest.param(410, Reject, id="gone-is-permanent"),
        pytest.param(429, Retry, id="too-many-requests"),
        pytest.param(503, Retry, id="service-unavailable"),
        pytest.param(302, RuntimeError, id="redirect"),
        pytest.param(400, RuntimeError, id="bad-request"),
        pytest.param(500, RuntimeError, id="server-error"),
    ],
)
def test_status_decides(status: int, outcome: type[Exception], receiver: Receiver) -> None:
    receiver.status = status
    receiver.headers = {"location": receiver.url}
    receiver.body = b"because " + b"x" * 1000

    with pytest.raises(outcome) as raised:
        webhook(url=f"{receiver.url}?token=testKeySecret")(a_job_result())

    assert type(raised.value) is outcome
    assert f"responded {status}: because xxx" in str(raised.value)
    assert len(str(raised.value)) < 300
    assert "testKeySecret" not in str(raised.value)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_done(status: int, receiver: Receiver) -> None:
    receiver.status = status

    assert webhook(url=receiver.url)(a_job_result()) is None


def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.headers = {"content-length": str(10**12)}
    receiver.body = b"x" * 100_000

    assert webhook(url=receiver.url, timeout=timedelta(minutes=5))(a_job_result()) is None


def test_a_status_counts_even_if_the_rest_of_the_answer_is_lost(receiver: Receiver) -> None:
    receiver.headers = {"content-length": "1000"}
    receiver.body = b"short"

    assert webhook(url=receiver.url)(a_job_result()) is None


def test_retry_after_reaches_the_engine(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 503, {"retry-after": "120"}

    with pytest.raises(Retry) as raised:
        webhook(url=receiver.url)(a_job_result())

    assert raised.value.after == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        pytest.param("30", timedelta(seconds=30), id="seconds"),
        pytest.param(
            format_datetime(NOON + timedelta(minutes=5), usegmt=True), timedelta(minutes=5), id="date"
        ),
        pytest.param("Wed, 01 May 2024 12:01:00", timedelta(minutes=1), id="date-without-zone"),
        pytest.param("86400", timedelta(hours=1), id="too-long"),
        pytest.param("9" * 5000, timedelta(hours=1), id="absurd"),
        pytest.param(format_datetime(NOON - timedelta(days=1), usegmt=True), None, id="past"),
        pytest.param("0", None, id="nought"),
        pytest.param("soon", None, id="garbage"),
        pytest.param("", None, id="absent"),
    ],
)
def test_retry_after_is_read(text: str, wait: timedelta | None) -> None:
    assert requested_delay(text, NOON) == wait


@given(st.text() | st.from_regex(r"[0-9A-Za-z ,:+-]*", fullmatch=True))
def test_no_retry_after_breaks_the_rule_of_one_hour(text: str) -> None:
    wait = requested_delay(text, NOON)

    assert wait is None or timedelta(0) < wait <= timedelta(hours=1)


def test_refused_connection_spends_no_attempt() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening

        with pytest.raises(Unavailable, match="is unreachable"):
            webhook(url=f"http://127.0.0.1:{unused.getsockname()[1]}/")(a_job_result())


def test_an_answer_that_does_not_come_in_time_is_a_failed_attempt(receiver: Receiver) -> None:
    receiver.gate.clear()

    with pytest.raises(TimeoutError, match="did not respond within"):
        webhook(url=receiver.url, timeout=timedelta(milliseconds=100))(a_job_result())

    assert receiver.arrived.wait(30)


#: Enough of a trickle for 20 s or more; the receiver then hangs up.
TRICKLE = {"times": 2000, "pause": 0.01}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(None, id="nothing"),
        pytest.param(Pieces(repeated=b"H", **TRICKLE), id="trickled-status"),
        pytest.param(
            Pieces(first=b"HTTP/1.1 200 OK\r\n", repeated=b"A: b\r\n", **TRICKLE), id="trickled-headers"
        ),
        pytest.param(Pieces(repeated=CONTINUE, **TRICKLE), id="endless-100-continue"),
    ],
)
def test_the_timeout_is_for_the_whole_call(reply: Pieces | None) -> None:
    with serving([reply]) as server, pytest.raises(TimeoutError, match="did not respond within 0:00:01"):
        webhook(url=server.url, timeout=timedelta(seconds=1))(a_job_result())


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            Pieces(first=b"HTTP/1.1 200 OK\r\n", repeated=b"A: " + b"b" * 65536, times=1000), id="header"
        ),
        pytest.param(
            Pieces(first=b"HTTP/1.1 200 OK\r\n", repeated=b"A: b\r\n" * 1000, times=1000), id="headers"
        ),
        pytest.param(Pieces(repeated=CONTINUE * 1000, times=1000), id="100-continue"),
    ],
)
def test_a_response_whose_head_is_too_long_is_a_failed_attempt(reply: Pieces) -> None:
    with serving([reply]) as server, pytest.raises(RuntimeError, match="too long"):
        webhook(url=server.url)(a_job_result())


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(CHUNKED, Pieces(repeated=b"1\r\nx\r\n", **TRICKLE), id="trickled-chunks"),
        pytest.param(b"Content-Length: 2000\r\n\r\n", Pieces(repeated=b"x", **TRICKLE), id="trickled"),
        pytest.param(b"\r\n", Pieces(repeated=b"x" * 10_000, times=10_000), id="endless"),
    ],
)
def test_a_status_counts_whatever_follows_it(
    head: bytes, body: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.handlers.webhook._BODY_SECONDS", 0.1)
    done, failed = (
        replace(body, first=b"HTTP/1.1 " + status + b"\r\n" + head) for status in (b"200 OK", b"500 Oh")
    )
    with serving([done], [failed]) as server:
        handler = webhook(url=server.url, timeout=timedelta(seconds=10))

        assert handler(a_job_result()) is None
        with pytest.raises(RuntimeError, match="responded 500") as raised:
            handler(a_job_result())

    assert len(server.requests) == 2
    assert len(str(raised.value)) < 300


def test_a_success_does_not_wait_for_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in the meantime would make the next process call it again."""
    monkeypatch.setattr("listener.handlers.webhook._BODY_SECONDS", 60)
    with serving([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None]) as server:
        handler = webhook(url=server.url, timeout=timedelta(seconds=60))
        before = time.monotonic()
        assert handler(a_job_result()) is None

    assert time.monotonic() - before < 30


def test_a_connection_whose_response_was_read_is_used_again() -> None:
    with serving([http_reply(b"ok"), http_reply(b"ok")], [http_reply(status="500 Oh")]) as server:
        handler = webhook(url=server.url)

        assert [handler(a_job_result()), handler(a_job_result())] == [None, None]


def test_limits_hold_over_tls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path, "receiver")
    trusting = ssl.create_default_context(cafile=str(pem))
    monkeypatch.setattr("listener.handlers.webhook._tls_context", lambda: trusting)
    trickle = Pieces(first=b"HTTP/1.1 200 OK\r\n", repeated=b"A", **TRICKLE)
    with serving([http_reply(), trickle], tls=server_tls(pem)) as server:
        handler = webhook(url=server.url.replace("127.0.0.1", "localhost"), timeout=timedelta(seconds=2))

        assert handler(a_job_result()) is None
        with pytest.raises(TimeoutError, match="did not respond"):
            handler(a_job_result())


def test_a_handshake_that_never_ends_spends_no_attempt() -> None:
    with serving([None]) as server, pytest.raises(Unavailable, match="is unreachable"):
        webhook(url=server.url.replace("http:", "https:"), timeout=timedelta(seconds=1))(a_job_result())


def test_user_and_password_of_the_url_are_sent(receiver: Receiver) -> None:
    webhook(url=receiver.url.replace("http://", "http://user:test%20KeySecret@"))(a_job_result())

    assert receiver.requests[0].headers["authorization"] == "Basic dXNlcjp0ZXN0IEtleVNlY3JldA=="
    assert "user" not in receiver.requests[0].headers["host"]


def test_the_proxy_of_the_environment_is_used_unless_it_is_bypassed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", receiver.url.removesuffix("/hook"))
    webhook(url="http://video.example/hook")(a_job_result())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    webhook(url=receiver.url)(a_job_result())

    assert [request.path for request in receiver.requests] == ["http://video.example/hook", "/hook"]


def test_a_call_ends_before_its_handler_counts_as_hung(receiver: Receiver) -> None:
    receiver.gate.clear()
    handler, context = webhook(url=receiver.url), contextvars.copy_context()
    context.run(set_call_deadline, timedelta(seconds=2))

    with pytest.raises(TimeoutError, match=r"did not respond within 0:00:0[01]\."):
        context.run(handler, a_job_result())


def test_a_receiver_that_takes_no_connection_spends_no_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as others:
        for _ in range(2):  # the queue of connections to be accepted holds one more than its size
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())

        with pytest.raises(Unavailable, match="is unreachable"):
            webhook(url=f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=timedelta(seconds=0.5))(
                a_job_result()
            )


def test_close_lets_the_running_call_finish_and_takes_no_other(receiver: Receiver) -> None:
    receiver.gate.clear()
    handler = webhook(url=receiver.url)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(handler, a_job_result())
        assert receiver.arrived.wait(30)

        handler.close()
        with pytest.raises(Unavailable):
            handler(a_job_result())
        receiver.gate.set()

        assert call.result(30) is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        pytest.param({"url": "ftp://user:testKeySecret@example.com"}, "http://", id="scheme"),
        pytest.param(
            {"url": "http://user:test/KeySecret@example.com"}, "percent-encoded", id="password-with-slash"
        ),
        pytest.param({"url": "example.com"}, "http://", id="no-scheme"),
        pytest.param({"secret_file": "/no/such/file"}, "/no/such/file", id="no-secret-file"),
        pytest.param({"headers": {"X-Token": "testKeySecret\n"}}, "X-Token", id="header-with-line-break"),
        pytest.param({"headers": {"X Y": "testKeySecret"}}, "X Y", id="header-name"),
        pytest.param({"headers": {"X-Token": ["testKeySecret"]}}, "headers.X-Token", id="header-is-a-list"),
        pytest.param({"headers": "Bearer testKeySecret"}, "headers", id="headers-is-text"),
        pytest.param({"timeout": "0s"}, "timeout", id="no-time-at-all"),
    ],
)
def test_wrong_options_are_refused_without_showing_secrets(options: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load("webhook", {"url": "http://127.0.0.1/", **options}, where="routes.a.handlers[0]")

    assert word in str(refusal.value)
    assert "KeySecret" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"whsec_", b"testKeySecret!", b"\xff\xfe", b"testKeySecret\nsecond"]
)
def test_a_secret_that_is_none_is_refused_without_showing_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)

    with pytest.raises(SettingsError, match="secret_file") as refusal:
        load("webhook", {"url": "http://127.0.0.1/", "secret_file": str(tmp_path / "secret")}, where="here")

    assert "testKeySecret" not in str(refusal.value)


def test_no_secret_is_in_the_handlers_repr(secret_file: Path) -> None:
    handler = webhook(
        url="http://user:testKeySecret@127.0.0.1/", secret_file=secret_file, headers={"X": "testKeySecret"}
    )

    assert "testKeySecret" not in repr(handler)
    assert SECRET not in repr(vars(handler))
    handler.close()
