"""What the emulator's MNS looks like on the wire, beyond what the official SDK would notice."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest

from listener.emulator import Emulator, Options
from listener.emulator.server import RunningEmulator, running
from tests.support.cases import each_case
from tests.support.emulator_clients import NAMESPACE, BareMns, elements, records
from tests.support.waiting import wait_until

CREATE = "/queues/q"
MESSAGES = "/queues/q/messages"


def test_reply_has_the_layout_of_the_real_service(bare: BareMns) -> None:
    bare.send("q", "hello")
    reply = bare.receive("q")

    assert reply.text.startswith(
        '<?xml version="1.0" ?>\n<Message xmlns="http://mns.aliyuncs.com/doc/v1">\n  <MessageId>'
    )
    assert reply.text.endswith("</Priority>\n</Message>")
    assert list(elements(reply)) == [
        "MessageId",
        "ReceiptHandle",
        "MessageBody",
        "MessageBodyMD5",
        "EnqueueTime",
        "NextVisibleTime",
        "FirstDequeueTime",
        "DequeueCount",
        "Priority",
    ]


def test_headers_are_those_of_the_service(bare: BareMns) -> None:
    reply = bare.send("q", "hello")

    assert reply.headers["server"] == "AliyunMQS"
    assert reply.headers["content-type"] == "text/xml;charset=utf-8"
    assert reply.headers["x-mns-version"] == "2015-06-06"
    assert re.fullmatch("[0-9A-F]{24}", reply.headers["x-mns-request-id"])


def test_success_without_a_body_has_no_length(bare: BareMns) -> None:
    reply = bare.request("DELETE", CREATE)

    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-length" not in reply.headers
    assert reply.headers["content-type"] == "text/xml;charset=utf-8"


def test_error_has_code_message_request_id_and_host(bare: BareMns) -> None:
    reply = bare.receive("nowhere")

    error = elements(reply)
    assert (reply.status_code, error["Code"]) == (404, "QueueNotExist")
    assert error["Message"] == "The queue name you provided is not exist."
    assert error["RequestId"] == reply.headers["x-mns-request-id"]
    assert error["HostId"].startswith("http://127.0.0.1")


def test_creating_answers_201_with_an_address_and_then_204(bare: BareMns) -> None:
    first = bare.request("PUT", "/queues/new", "<Queue/>")
    second = bare.request("PUT", "/queues/new")

    assert (first.status_code, second.status_code) == (201, 204)
    assert first.headers["location"].endswith("/queues/new")


def test_peek_shows_neither_handle_nor_return_time(bare: BareMns) -> None:
    bare.send("q", "hello")
    reply = bare.receive("q", "?peekonly=true")

    seen = elements(reply)
    assert "ReceiptHandle" not in seen
    assert "NextVisibleTime" not in seen
    assert (seen["DequeueCount"], seen["FirstDequeueTime"]) == ("0", seen["EnqueueTime"])


def test_batch_that_was_sent_is_answered_in_the_layout_of_one_that_was_refused_in_part(bare: BareMns) -> None:
    def lines(*bodies: str) -> list[str]:
        messages = "".join(f"<Message><MessageBody>{body}</MessageBody></Message>" for body in bodies)
        reply = bare.request("POST", "/queues/q/messages", f"<Messages>{messages}</Messages>").text
        return [re.sub(">[0-9A-F]{32}<", "><", line) for line in reply.splitlines()]

    assert lines("a")[:-1] == lines("a", "")[:6]
    assert lines("a")[-1] == lines("a", "")[-1] == "</Messages>"


def test_only_a_delayed_message_has_a_handle_when_sent(bare: BareMns) -> None:
    assert "ReceiptHandle" not in elements(bare.send("q", "now"))
    assert "ReceiptHandle" in elements(bare.send("q", "later", DelaySeconds=60))


def test_system_properties_come_before_user_properties(bare: BareMns) -> None:
    user = "<PropertyValue><Name>n</Name><Value>1</Value><Type>NUMBER</Type></PropertyValue>"
    system = "<SystemPropertyValue><Name>traceparent</Name><Value>t</Value><Type>STRING</Type></SystemPropertyValue>"
    bare.send("q", "x", UserProperties=user, SystemProperties=system)

    text = bare.receive("q").text
    assert 0 < text.index("<SystemProperties>") < text.index("<UserProperties>")


def a_property(name: str = "n", value: str = "v", type: str = "STRING") -> str:
    return f"<PropertyValue><Name>{name}</Name><Value>{value}</Value><Type>{type}</Type></PropertyValue>"


@each_case(
    "user",
    [
        pytest.param(a_property(type="INTEGER"), id="type"),
        pytest.param(a_property(name=""), id="no-name"),
        pytest.param(a_property(name=".n"), id="name"),
        pytest.param(a_property() * 2, id="name-twice"),
        pytest.param(a_property(value="maybe", type="BOOLEAN"), id="boolean"),
        pytest.param(a_property(value="=", type="BINARY"), id="binary"),
        pytest.param(a_property(value="x" * 4097), id="long"),
        pytest.param("".join(a_property(name=f"n{number}") for number in range(51)), id="too-many"),
    ],
)
def test_properties_that_the_service_does_not_document_are_refused(bare: BareMns, user: str) -> None:
    reply = bare.send("q", "x", UserProperties=user)

    assert (reply.status_code, elements(reply)["Code"]) == (400, "InvalidArgument")


def test_number_among_properties_is_not_validated(bare: BareMns) -> None:
    """As documented: the service treats it as a text."""
    assert bare.send("q", "x", UserProperties=a_property(value="abc", type="NUMBER")).status_code == 201


def test_carriage_return_comes_back_so_that_the_digest_fits(bare: BareMns) -> None:
    bare.send("q", "a&#13;\nb")
    reply = bare.receive("q")

    assert "a&#13;\nb" in reply.text
    assert elements(reply)["MessageBodyMD5"] == hashlib.md5(b"a\r\nb").hexdigest().upper()


def test_body_comes_back_as_sent_and_md5_is_of_the_wire_text(bare: BareMns) -> None:
    text = 'plain "text" & <markup> 中文'
    bare.send("q", text.replace("&", "&amp;").replace("<", "&lt;"))
    seen = elements(bare.receive("q"))

    assert seen["MessageBody"] == text
    assert seen["MessageBodyMD5"] == hashlib.md5(text.encode()).hexdigest().upper()


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="http://mns.aliyuncs.com/doc/v1"', ' xmlns="http://other/"']
)
def test_namespace_of_a_request_does_not_matter(bare: BareMns, namespace: str) -> None:
    reply = bare.request("POST", MESSAGES, f"<Message{namespace}><MessageBody>x</MessageBody></Message>")

    assert reply.status_code == 201


@each_case(
    "body",
    [
        pytest.param("<Message><MessageBody>x</Message>", id="not-well-formed"),
        pytest.param("", id="nothing"),
        pytest.param(
            '<!DOCTYPE x [<!ENTITY a "b">]><Message><MessageBody>&a;</MessageBody></Message>', id="entity"
        ),
        pytest.param('<?xml version="1.0"?><!-- x --><!DOCTYPE Message><Message/>', id="document-type"),
        pytest.param("<Message/>".encode("utf-16"), id="utf-16"),
    ],
)
def test_dangerous_or_broken_xml_is_refused(bare: BareMns, body: str | bytes) -> None:
    reply = bare.request("POST", MESSAGES, body)

    assert (reply.status_code, elements(reply)["Code"]) == (400, "MalformedXML")


def test_body_may_speak_of_document_types(bare: BareMns) -> None:
    assert bare.send("q", "<![CDATA[<!DOCTYPE html>]]>").status_code == 201
    assert elements(bare.receive("q"))["MessageBody"] == "<!DOCTYPE html>"


@each_case(
    ("headers", "status", "code"),
    [
        pytest.param({"authorization": "MNS testKeyId"}, 400, "InvalidAuthorizationHeader", id="no-colon"),
        pytest.param({"authorization": "Basic abc"}, 400, "InvalidAuthorizationHeader", id="other-scheme"),
        pytest.param({"authorization": "MNS other:abc="}, 403, "InvalidAccessKeyId", id="unknown-key"),
        pytest.param(
            {"authorization": "MNS testKeyId:abc="}, 403, "SignatureDoesNotMatch", id="bad-signature"
        ),
        pytest.param({"x-mns-version": ""}, 400, "MissingVersionHeader", id="no-version"),
        pytest.param({"x-mns-version": "2014-01-01"}, 400, "InvalidArgument", id="other-version"),
        pytest.param({"date": ""}, 400, "MissingDateHeader", id="no-date"),
        pytest.param({"date": "yesterday"}, 400, "InvalidDateHeader", id="bad-date"),
        pytest.param({"date": "Mon, 01 Jan 2024 00:00:00 GMT"}, 408, "TimeExpired", id="old-date"),
        pytest.param({"content-md5": "abc"}, 400, "InvalidDegist", id="bad-digest"),
    ],
)
def test_request_that_cannot_be_trusted_is_refused(
    bare: BareMns, headers: dict[str, str], status: int, code: str
) -> None:
    reply = bare.request("GET", "/queues", headers=headers)

    assert (reply.status_code, elements(reply)["Code"]) == (status, code)


def test_unsigned_request_is_refused(server: RunningEmulator) -> None:
    reply = httpx.get(f"{server.url}/queues", trust_env=False)

    assert (reply.status_code, elements(reply)["Code"]) == (400, "MissingAuthorizationHeader")


def test_x_mns_date_may_stand_in_for_date(bare: BareMns) -> None:
    date = bare.receive("q").headers["date"]

    assert bare.request("GET", "/queues", headers={"date": "", "x-mns-date": date}).status_code == 200


@pytest.mark.parametrize("form", ["hex", "raw"])
def test_both_usual_forms_of_content_md5_are_accepted(bare: BareMns, form: str) -> None:
    body = b"<Message><MessageBody>x</MessageBody></Message>"
    digest = hashlib.md5(body)
    raw = digest.hexdigest().encode() if form == "hex" else digest.digest()
    reply = bare.request("POST", MESSAGES, body, {"content-md5": base64.b64encode(raw).decode()})

    assert reply.status_code == 201


@pytest.mark.parametrize("spelling", ["ReceiptHandle", "receiptHandle", "receipthandle"])
def test_names_in_the_query_are_read_without_case(bare: BareMns, spelling: str) -> None:
    bare.send("q", "x")
    handle = elements(bare.receive("q"))["ReceiptHandle"]

    assert bare.request("DELETE", f"{MESSAGES}?{spelling}={handle}").status_code == 204


@pytest.mark.parametrize("escaped", [True, False])
def test_handles_work_raw_and_escaped(bare: BareMns, escaped: bool) -> None:
    handle = ""
    while not ("+" in handle and "/" in handle):
        bare.send("q", "x")
        handle = elements(bare.receive("q"))["ReceiptHandle"]

    given = quote(handle, safe="") if escaped else handle
    assert bare.request("DELETE", f"{MESSAGES}?ReceiptHandle={given}").status_code == 204


@each_case(
    ("method", "target", "body", "text"),
    [
        pytest.param("GET", f"{MESSAGES}?waitseconds=31", "", "The value of waitseconds", id="wait"),
        pytest.param("GET", f"{MESSAGES}?numOfMessages=17", "", "The value of numOfMessages", id="batch"),
        pytest.param("GET", f"{MESSAGES}?numOfMessages=0", "", "between 1 and 16", id="none"),
        pytest.param(
            "GET",
            f"{MESSAGES}?numOfMessages=x",
            "",
            "The value of numOfMessages should between 1 and 16.",
            id="no-number",
        ),
        pytest.param(
            "PUT",
            "/queues/x",
            "<Queue><VisibilityTimeout>0</VisibilityTimeout></Queue>",
            "The value of VisibilityTimeout should between 1 and 43200 seconds.",
            id="visibility",
        ),
        pytest.param(
            "PUT",
            "/queues/x",
            "<Queue><MaximumMessageSize>65537</MaximumMessageSize></Queue>",
            "The value of MaximumMessageSize should between 1024 and 65536 bytes.",
            id="size",
        ),
        pytest.param(
            "PUT", "/queues/x", "<Queue><LoggingEnabled>maybe</LoggingEnabled></Queue>", "", id="truth"
        ),
        pytest.param("POST", MESSAGES, "<Message><MessageBody/></Message>", "MessageBody", id="empty-body"),
        pytest.param(
            "POST",
            MESSAGES,
            f"<Message><MessageBody>{'x' * 65_537}</MessageBody></Message>",
            "between 1 and 65536 bytes",
            id="long-body",
        ),
        pytest.param(
            "POST",
            MESSAGES,
            "<Messages>" + "<Message><MessageBody>x</MessageBody></Message>" * 17 + "</Messages>",
            "between 1 and 16",
            id="seventeen",
        ),
        pytest.param(
            "POST",
            MESSAGES,
            "<Messages>"
            + f"<Message><MessageBody>{'x' * 40_000}</MessageBody></Message>" * 2
            + "</Messages>",
            "between 1 and 65536 bytes",
            id="batch-bytes",
        ),
        pytest.param("POST", MESSAGES, "<Other/>", "did not validate", id="other-element"),
        pytest.param(
            "POST",
            MESSAGES,
            "<Message><MessageBody>a<b>c</b></MessageBody></Message>",
            "MessageBody contains elements",
            id="elements-in-a-body",
        ),
        pytest.param(
            "PUT", "/queues/x", "<Queue><QueueType>other</QueueType></Queue>", "QueueType", id="queue-type"
        ),
        pytest.param("DELETE", MESSAGES, "<ReceiptHandles/>", "ReceiptHandles", id="no-handles"),
    ],
)
def test_what_is_beyond_the_limits_is_an_invalid_argument(
    bare: BareMns, method: str, target: str, body: str, text: str
) -> None:
    reply = bare.request(method, target, body)

    assert (reply.status_code, elements(reply)["Code"]) == (400, "InvalidArgument")
    assert text in elements(reply)["Message"]


@each_case(
    ("target", "code"),
    [
        pytest.param(f"{MESSAGES}?visibilityTimeout=5", "MissingReceiptHandle", id="no-handle"),
        pytest.param(f"{MESSAGES}?receiptHandle=8-abcdefghij", "MissingVisibilityTimeout", id="no-timeout"),
        pytest.param(f"{MESSAGES}?receiptHandle=x&visibilityTimeout=5", "ReceiptHandleError", id="garbage"),
        pytest.param(
            f"{MESSAGES}?receiptHandle=1-ODU4OTkzNDU5My0xNDM1MTk3NjAwLTItNg==&visibilityTimeout=5",
            "MessageNotExist",
            id="documented-sample",
        ),
        pytest.param("/queues/-bad", "InvalidQueueName", id="name"),
        pytest.param(f"/queues/{'x' * 121}", "QueueNameLengthError", id="name-length"),
    ],
)
def test_each_mistake_has_its_documented_code(bare: BareMns, target: str, code: str) -> None:
    assert elements(bare.request("PUT", target))["Code"] == code


@pytest.mark.parametrize(
    "path", ["/queues/q/other", "/", "/elsewhere", "//queues/q/messages", "//topics/t/messages"]
)
def test_unknown_address_is_refused(bare: BareMns, path: str) -> None:
    assert elements(bare.request("POST", path))["Code"] == "InvalidRequestURL"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("/elsewhere", {"x-mns-version": "2015-06-06"}, id="version"),
        pytest.param("/elsewhere", {"authorization": "MNS testKeyId:abc="}, id="signature"),
        pytest.param("//queues/q", {}, id="two-slashes"),
    ],
)
def test_request_that_is_meant_for_mns_gets_its_errors(
    server: RunningEmulator, path: str, headers: dict[str, str]
) -> None:
    reply = httpx.get(f"{server.url}{path}", headers=headers, trust_env=False)

    assert ElementTree.fromstring(reply.content).tag == f"{NAMESPACE}Error"


def test_listing_can_bring_the_attributes_along(bare: BareMns) -> None:
    (listed,) = records(bare.request("GET", "/queues", headers={"x-mns-with-meta": "true"}))

    assert (listed["QueueName"], listed["VisibilityTimeout"]) == ("q", "30")


def test_lenient_emulator_keeps_the_old_handle_after_a_visibility_change() -> None:
    with running(Options(lenient_handles=True)) as server:
        bare = BareMns(server.url)
        with bare.http:
            bare.request("PUT", CREATE)
            bare.send("q", "x")
            handle = elements(bare.receive("q"))["ReceiptHandle"]
            bare.request("PUT", f"{MESSAGES}?receiptHandle={handle}&visibilityTimeout=60")

            assert bare.request("DELETE", f"{MESSAGES}?ReceiptHandle={handle}").status_code == 204


def test_long_poll_is_woken_by_a_message_at_once(server: RunningEmulator, bare: BareMns) -> None:
    poller = BareMns(server.url)
    seen: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: seen.append(poller.receive("q", "?waitseconds=30")))
    with poller.http:
        started = time.monotonic()
        thread.start()
        _await_request(server, "ReceiveMessage")
        bare.send("q", "wake up")
        thread.join(20)

    assert elements(seen[0])["MessageBody"] == "wake up"
    assert time.monotonic() - started < 20


def test_long_poll_of_a_client_that_left_takes_no_message(server: RunningEmulator, bare: BareMns) -> None:
    leaver = BareMns(server.url)
    leaver.http.timeout = httpx.Timeout(0.2)
    with leaver.http, pytest.raises(httpx.ReadTimeout):
        leaver.receive("q", "?waitseconds=30")
    bare.send("q", "for somebody else")

    seen = elements(bare.receive("q", "?waitseconds=10"))
    assert (seen["MessageBody"], seen["DequeueCount"]) == ("for somebody else", "1")


def test_long_poll_sees_a_message_that_becomes_visible_again(bare: BareMns) -> None:
    bare.request("PUT", "/queues/short", "<Queue><VisibilityTimeout>1</VisibilityTimeout></Queue>")
    bare.send("short", "x")
    bare.receive("short")

    assert elements(bare.receive("short", "?waitseconds=20"))["DequeueCount"] == "2"


def test_reset_ends_long_polls(server: RunningEmulator, bare: BareMns) -> None:
    poller = BareMns(server.url)
    seen: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: seen.append(poller.receive("q", "?waitseconds=30")))
    with poller.http:
        thread.start()
        _await_request(server, "ReceiveMessage")
        server.call(Emulator.reset)
        thread.join(20)

    assert elements(seen[0])["Code"] == "MessageNotExist"


def _await_request(server: RunningEmulator, operation: str) -> None:
    """Wait until the emulator has begun to answer such a request."""
    wait_until(lambda: server.call(lambda emulator: emulator.requests[operation]) > 0)
