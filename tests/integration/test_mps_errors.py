"""What the MPS client makes of error replies, as the official SDK hands them on."""

from __future__ import annotations

import errno
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from urllib3.util import connection

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mps_client import MpsClient
from listener.aliyun.mps_error_codes import TABLE
from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.settings.sections import MpsSettings
from tests.support.builders import a_job


class Refusing(ThreadingHTTPServer):
    """Answers every request with one error."""

    code, status, asked = "", 400, 0


class _Answer(BaseHTTPRequestHandler):
    server: Refusing

    def do_POST(self) -> None:
        self.server.asked += 1
        reply = {"RequestId": "1", "HostId": "mts", "Code": self.server.code, "Message": "as the test wants"}
        body = json.dumps(reply).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests stay silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[Refusing]:
    server = Refusing(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def client(server: Refusing) -> MpsClient:
    settings = MpsSettings(endpoint=f"http://127.0.0.1:{server.server_port}")
    return MpsClient(settings, Credentials(lambda: AccessKey("testKeyId", "testKeySecret")))


def refused(client: MpsClient, server: Refusing, code: str, status: int) -> Exception:
    server.code, server.status, server.asked = code, status, 0
    with pytest.raises((MpsUnavailable, MpsRejected)) as caught:
        client.submit(a_job(), user_data=None)
    assert server.asked == 1, "a submission that is sent twice is two jobs"
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling.User", 400, FailureKind.THROTTLED),
        ("InternalError", 500, FailureKind.SERVER),
        ("InvalidAccessKeyId.NotFound", 404, FailureKind.CREDENTIALS),
        ("InvalidTimeStamp.Expired", 400, FailureKind.CLOCK),
        ("Forbidden.RAM", 403, FailureKind.DENIED),
        ("InvalidIdentity.ServiceDisabled", 403, FailureKind.DENIED),
        ("NeverHeardOf", 503, FailureKind.SERVER),
    ],
)
def test_transient_and_operator_errors_are_outages(
    client: MpsClient, server: Refusing, code: str, status: int, kind: FailureKind
) -> None:
    error = refused(client, server, code, status)

    assert isinstance(error, MpsUnavailable)
    assert (error.kind, error.code) == (kind, code)
    assert error.hint in str(error)
    assert code in str(error)


@pytest.mark.parametrize("code", ["InvalidParameter.NoAudioStream", "MissingParameter", "NeverHeardOf"])
def test_what_will_always_be_refused_is_permanent(client: MpsClient, server: Refusing, code: str) -> None:
    error = refused(client, server, code, 400)

    assert isinstance(error, MpsRejected)
    assert (error.code, error.request_id) == (code, "1")
    assert code not in TABLE or TABLE[code].hint in str(error)


def test_every_call_is_counted_with_its_outcome(server: Refusing) -> None:
    counted: list[tuple[str, str]] = []
    client = MpsClient(
        MpsSettings(endpoint=f"http://127.0.0.1:{server.server_port}"),
        Credentials(lambda: AccessKey("testKeyId", "testKeySecret")),
        on_request=lambda operation, outcome: counted.append((operation, outcome)),
    )
    refused(client, server, "Throttling.User", 400)
    refused(client, server, "MissingParameter", 400)

    assert counted == [("SubmitIProductionJob", "throttled"), ("SubmitIProductionJob", "rejected")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("timed out"), FailureKind.TIMEOUT),
        (OSError(errno.EHOSTUNREACH, "No route to host"), FailureKind.CONNECTION),
    ],
    ids=["no-answer", "no-route"],
)
def test_without_a_connection_nothing_was_sent(
    client: MpsClient, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: FailureKind
) -> None:
    def cannot_connect(*_given: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(connection, "create_connection", cannot_connect)
    with pytest.raises(MpsUnavailable) as caught:
        client.submit(a_job(), user_data=None)
    assert (caught.value.kind, caught.value.sent) == (kind, False)


def test_a_failed_handshake_of_tls_has_sent_nothing(server: Refusing) -> None:
    settings = MpsSettings(endpoint=f"https://127.0.0.1:{server.server_port}")
    client = MpsClient(settings, Credentials(lambda: AccessKey("testKeyId", "testKeySecret")))
    with pytest.raises(MpsUnavailable) as caught:
        client.submit(a_job(), user_data=None)
    assert (caught.value.kind, caught.value.sent) == (FailureKind.TLS, False)


def test_a_later_error_of_tls_may_have_brought_a_job(
    client: MpsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def garbled(_answer: object, *_size: int) -> None:
        raise ssl.SSLError(1, "decryption failed or bad record mac")

    monkeypatch.setattr(http.client.HTTPResponse, "read", garbled)
    with pytest.raises(MpsUnavailable) as caught:
        client.submit(a_job(), user_data=None)
    assert (caught.value.kind, caught.value.sent) == (FailureKind.TLS, True)


def test_a_connection_that_ends_without_a_reply_may_have_brought_a_job(
    client: MpsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Answer, "do_POST", lambda _handler: None)
    with pytest.raises(MpsUnavailable) as caught:
        client.submit(a_job(), user_data=None)
    assert (caught.value.kind, caught.value.sent) == (FailureKind.CONNECTION, True)
