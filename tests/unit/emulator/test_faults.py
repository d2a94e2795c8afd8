"""Each fault: that it really does what it is called, and that the emulator counts it then and only then."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from listener.core import clock
from listener.emulator import Emulator, Fault, FaultKind, Options
from listener.emulator.faults import MAX_FAULTS, FaultError, Faults, Occasion, parse, read
from listener.emulator.server import RunningEmulator, running
from listener.emulator.virtual_clock import VirtualClock
from tests.support.cases import each_case
from tests.support.clocks import freeze_time
from tests.support.emulator_clients import BareMns, BareMps, code, elements, next_callback, submit
from tests.support.waiting import wait_until

RECEIVE = "/queues/q/messages?numOfMessages=16"


@pytest.fixture
def set_fault(server: RunningEmulator) -> Iterator[Any]:
    def set_one(kind: FaultKind, **fields: Any) -> None:
        server.call(lambda emulator: emulator.faults.add([Fault(kind=kind, **fields)]))

    yield set_one
    server.call(lambda emulator: emulator.faults.clear())


def happened(server: RunningEmulator, kind: FaultKind) -> int:
    return server.call(lambda emulator: emulator.faults.happened(kind))


def sent(server: RunningEmulator) -> int:
    return server.call(lambda emulator: emulator.mns.queues["q"].sent)


def test_stalled_request_is_never_answered(server: RunningEmulator, bare: BareMns, set_fault: Any) -> None:
    set_fault(FaultKind.STALL, operation="SendMessage")
    bare.http.timeout = httpx.Timeout(0.3)

    with pytest.raises(httpx.ReadTimeout):
        bare.send("q", "x")
    assert (happened(server, FaultKind.STALL), sent(server)) == (1, 0)


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.HANG_UP])
@pytest.mark.parametrize("after", [False, True])
def test_broken_connection_comes_before_or_after_the_work(
    server: RunningEmulator, bare: BareMns, set_fault: Any, kind: FaultKind, after: bool
) -> None:
    set_fault(kind, operation="SendMessage", count=1, after=after)
    expected = httpx.ReadError if kind == FaultKind.RESET else httpx.RemoteProtocolError

    with pytest.raises(expected):
        bare.send("q", "x")
    assert (happened(server, kind), sent(server)) == (1, int(after))
    assert bare.send("q", "x").status_code == 201


def test_truncated_reply_breaks_off_in_the_body(
    server: RunningEmulator, bare: BareMns, set_fault: Any
) -> None:
    bare.send("q", "x")
    set_fault(FaultKind.TRUNCATE, operation="*Receive*", keep=0.3)

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        bare.receive("q")
    assert happened(server, FaultKind.TRUNCATE) == 1


def test_reply_without_a_body_cannot_be_truncated(
    server: RunningEmulator, bare: BareMns, set_fault: Any
) -> None:
    set_fault(FaultKind.TRUNCATE)

    assert bare.request("PUT", "/queues/q").status_code == 204
    assert happened(server, FaultKind.TRUNCATE) == 0


def test_unasked_reply_follows_the_one_that_was_asked_for(server: RunningEmulator, set_fault: Any) -> None:
    set_fault(FaultKind.UNASKED, count=1)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        connection.sendall(b"GET /queues/q HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1 ") < 2:
            received += connection.recv(65_536)

    assert received.endswith(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert happened(server, FaultKind.UNASKED) == 1


@pytest.mark.parametrize(("body", "start"), [("xml", b"<?xml"), ("html", b"<html>"), ("empty", b"")])
def test_server_error_comes_in_xml_html_or_nothing(
    server: RunningEmulator, bare: BareMns, set_fault: Any, body: str, start: bytes
) -> None:
    set_fault(FaultKind.ERROR, service="mns", status=502, body=body)
    reply = bare.receive("q")

    assert (reply.status_code, reply.content[:6].startswith(start)) == (502, True)
    assert (reply.content == b"") == (body == "empty")
    assert happened(server, FaultKind.ERROR) == 1


def test_throttling_speaks_the_language_of_each_service(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.THROTTLE)
    queue = bare.receive("q")

    assert (queue.status_code, elements(queue)["Code"]) == (429, "TooManyRequests")
    assert code(mps.call("SearchPipeline")) == (400, "Throttling.User")


def test_rejected_signature_speaks_the_language_of_each_service(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.REJECT_SIGNATURE)
    queue = bare.receive("q")

    assert (queue.status_code, elements(queue)["Code"]) == (403, "SignatureDoesNotMatch")
    assert code(mps.call("SearchPipeline")) == (400, "SignatureDoesNotMatch")


def test_latency_delays_the_answer(server: RunningEmulator, bare: BareMns, set_fault: Any) -> None:
    set_fault(FaultKind.LATENCY, seconds=0.2)
    started = time.monotonic()

    assert bare.send("q", "x").status_code == 201
    assert time.monotonic() - started >= 0.2
    assert happened(server, FaultKind.LATENCY) == 1


def test_latency_after_the_request_delays_what_has_been_carried_out(
    server: RunningEmulator, bare: BareMns, set_fault: Any
) -> None:
    set_fault(FaultKind.LATENCY, seconds=3600.0, after=True)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(bare.send, "q", "x")
        wait_until(lambda: server.call(lambda emulator: emulator.mns.queue("q").counts()["active"]) == 1)
        assert not sending.done()
        server.run(lambda emulator: emulator.clock.advance(3600.0))
        assert sending.result(30).status_code == 201

    assert happened(server, FaultKind.LATENCY) == 1


@pytest.mark.parametrize("seconds", [7200, -7200])
def test_skewed_clock_shows_in_the_date_and_in_refusals(
    bare: BareMns, mps: BareMps, set_fault: Any, seconds: int
) -> None:
    set_fault(FaultKind.CLOCK_SKEW, seconds=seconds)
    reply = bare.receive("q")

    assert (reply.status_code, elements(reply)["Code"]) == (408, "TimeExpired")
    off = (parsedate_to_datetime(reply.headers["date"]) - clock.now()).total_seconds()
    assert abs(off - seconds) < 60
    assert code(mps.call("SearchPipeline")) == (400, "InvalidTimeStamp.Expired")


def test_small_skew_shows_in_the_date_only(bare: BareMns, set_fault: Any) -> None:
    bare.send("q", "x")
    set_fault(FaultKind.CLOCK_SKEW, seconds=300)

    assert bare.receive("q").status_code == 200


def test_expired_handles_bring_the_messages_back(
    server: RunningEmulator, bare: BareMns, set_fault: Any
) -> None:
    bare.send("q", "x")
    handle = elements(bare.receive("q"))["ReceiptHandle"]
    set_fault(FaultKind.EXPIRE_HANDLES, operation="DeleteMessage", queue="q", count=1)
    refusal = bare.request("DELETE", f"/queues/q/messages?ReceiptHandle={handle}")

    assert elements(refusal)["Code"] == "MessageNotExist"
    assert elements(bare.receive("q"))["DequeueCount"] == "2"
    assert happened(server, FaultKind.EXPIRE_HANDLES) == 1


def test_no_handle_to_expire_is_no_fault(server: RunningEmulator, bare: BareMns, set_fault: Any) -> None:
    set_fault(FaultKind.EXPIRE_HANDLES)
    bare.receive("q")

    assert happened(server, FaultKind.EXPIRE_HANDLES) == 0


def test_empty_poll_is_answered_at_once_though_a_message_is_there(
    server: RunningEmulator, bare: BareMns, set_fault: Any
) -> None:
    bare.send("q", "x")
    set_fault(FaultKind.EMPTY_POLL, count=1)

    assert elements(bare.receive("q", "?waitseconds=30"))["Code"] == "MessageNotExist"
    assert bare.receive("q").status_code == 200
    assert happened(server, FaultKind.EMPTY_POLL) == 1


def test_dropped_reply_hides_a_job_that_was_accepted(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.DROP_REPLY, operation="SubmitIProductionJob", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        submit(mps)

    (job_id,) = server.call(lambda emulator: list(emulator.engine.jobs))
    assert next_callback(bare)["JobId"] == job_id
    assert happened(server, FaultKind.DROP_REPLY) == 1


def test_early_callback_is_there_before_the_submission_is_answered(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.EARLY, operation="SubmitIProductionJob", seconds=30)
    mps.http.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        submit(mps)

    assert next_callback(bare)["State"] == "Success"
    assert happened(server, FaultKind.EARLY) == 1


def test_refused_submission_has_no_early_callback(
    server: RunningEmulator, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.EARLY, operation="SubmitIProductionJob")
    submit(mps, Input="nonsense")

    assert happened(server, FaultKind.EARLY) == 0


def test_a_duplicated_callback_is_another_message(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.DUPLICATE, copies=2, function="Cover")
    submit(mps, "Cover")

    assert len({next_callback(bare)["JobId"] for _ in range(3)}) == 1
    assert (happened(server, FaultKind.DUPLICATE), sent(server)) == (1, 3)


def test_dropped_callback_never_comes(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.DROP, queue="q")
    submit(mps)
    wait_until(lambda: happened(server, FaultKind.DROP) == 1)

    assert bare.receive("q").status_code == 404


def test_late_callback_comes_late(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.LATE, seconds=0.3)
    started = time.monotonic()
    submit(mps)

    assert next_callback(bare)["State"] == "Success"
    assert time.monotonic() - started >= 0.3
    assert happened(server, FaultKind.LATE) == 1


def test_reordered_callback_lets_the_next_one_pass(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.REORDER, count=1, seconds=30)
    first = submit(mps, UserData="first").json()["JobId"]
    wait_until(lambda: server.call(lambda emulator: emulator.engine.jobs[first].over))
    submit(mps, UserData="second")

    assert [next_callback(bare)["UserData"] for _ in range(2)] == ["second", "first"]
    assert happened(server, FaultKind.REORDER) == 1


def test_callback_that_nothing_overtakes_is_sent_after_the_limit(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.REORDER, seconds=0.1)
    submit(mps)

    assert next_callback(bare)["State"] == "Success"
    assert happened(server, FaultKind.REORDER) == 0


def test_garbled_callback_is_cut_off(
    server: RunningEmulator, bare: BareMns, mps: BareMps, set_fault: Any
) -> None:
    set_fault(FaultKind.GARBLE)
    submit(mps)
    body = elements(bare.receive("q", "?waitseconds=20"))["MessageBody"]

    with pytest.raises(ValueError, match=r"padding|Unterminated|delimiter|Expecting"):
        json.loads(base64.b64decode(body, validate=True))
    assert happened(server, FaultKind.GARBLE) == 1


def started(*initial: Fault, seed: int | None = 1) -> Faults:
    faults = Faults(seed=seed, clock=VirtualClock())
    faults.start(initial, operations={"mns": ["ReceiveMessage", "SendMessage"], "mps": ["SubmitJobs"]})
    return faults


def picks(fault: Fault, occasions: int = 12, *, seed: int | None = 1) -> list[int]:
    faults = started(fault, seed=seed)
    occasion = Occasion(service="mns", operation="ReceiveMessage", queue="q")
    return [number for number in range(occasions) if faults.strikes(occasion)]


@each_case(
    ("fields", "expected"),
    [
        pytest.param({}, list(range(12)), id="always"),
        pytest.param({"every": 3}, [2, 5, 8, 11], id="every-third"),
        pytest.param({"skip": 10}, [10, 11], id="not-the-first-ten"),
        pytest.param({"count": 2}, [0, 1], id="twice"),
        pytest.param({"probability": 0.0}, [], id="never"),
        pytest.param({"operation": "*Receive*", "queue": "q", "service": "mns"}, list(range(12)), id="match"),
        pytest.param({"operation": "Send*"}, [], id="other-operation"),
        pytest.param({"queue": "other"}, [], id="other-queue"),
        pytest.param({"service": "mps"}, [], id="other-service"),
    ],
)
def test_fault_strikes_at_the_occasions_it_is_meant_for(fields: dict[str, Any], expected: list[int]) -> None:
    assert picks(Fault(kind=FaultKind.STALL, **fields)) == expected


def test_same_seed_strikes_at_the_same_occasions() -> None:
    fault = Fault(kind=FaultKind.STALL, probability=0.3)

    assert picks(fault, 200, seed=5) == picks(fault, 200, seed=5)
    assert 20 < len(picks(fault, 200, seed=5)) < 100
    assert picks(fault, 200, seed=5) != picks(fault, 200, seed=6)


def test_fault_has_a_beginning_and_an_end() -> None:
    with freeze_time() as frozen:
        faults = started(Fault(kind=FaultKind.STALL, start=10, stop=20))
        occasion = Occasion(service="mns")
        seen = []
        for _ in range(3):
            seen.append(bool(faults.strikes(occasion)))
            frozen.tick(10)

    assert seen == [False, True, False]


@each_case(
    ("document", "complaint"),
    [
        pytest.param({"kind": "explode"}, "kind = 'explode'", id="kind"),
        pytest.param(
            {"kind": "stall", "probabilty": 1}, "'probabilty' is not a key.*; use kind", id="spelling"
        ),
        pytest.param({"faults": []}, "'faults' is not a key", id="table"),
        pytest.param({"name": "a"}, "kind is missing", id="missing"),
        pytest.param({"kind": "stall", "probability": 2}, "probability = 2.0: must be", id="range"),
        pytest.param({"kind": "error", "status": 200}, "status = 200", id="status"),
        pytest.param([{"kind": "stall"}, {}], "fault 2", id="second"),
        pytest.param({"kind": "late", "seconds": float("nan")}, "seconds = nan", id="no-number"),
        pytest.param({"kind": "stall", "start": 1e300}, "start = 1e", id="beyond-the-clock"),
        pytest.param({"kind": "duplicate", "copies": 10**9}, "copies = 1000000000", id="copies"),
        pytest.param({"kind": "stall", "name": "\ud800"}, r"name = '\\ud800'", id="surrogate"),
        pytest.param({"kind": "stall", "topic": "\ud800"}, r"topic = '\\ud800'", id="topic"),
        pytest.param("stall", "list of tables", id="text"),
    ],
)
def test_impossible_fault_is_refused_by_name(document: Any, complaint: str) -> None:
    with pytest.raises(FaultError, match=complaint):
        parse(document)


@each_case(
    ("fields", "complaint"),
    [
        pytest.param(
            {"operation": "SendMesage"},
            "operation = 'SendMesage': matches none of mns and mps (did you mean 'SendMessage'?); "
            "known: ReceiveMessage, SendMessage, SubmitJobs",
            id="spelling",
        ),
        pytest.param({"operation": "Send*", "service": "mps"}, "mps; known: SubmitJobs", id="other-service"),
        pytest.param({"service": "MNS"}, "service = 'MNS': matches neither mns nor mps", id="service"),
        pytest.param({"kind": FaultKind.LATE, "operation": "Send*"}, "callbacks have none", id="callback"),
    ],
)
def test_fault_that_matches_no_operation_is_refused(fields: dict[str, Any], complaint: str) -> None:
    faults = started()

    with pytest.raises(FaultError, match=f"^fault 2: .*{re.escape(complaint)}"):
        faults.add([Fault(kind=FaultKind.STALL), Fault(**{"kind": FaultKind.STALL, **fields})])
    assert faults.report() == []


def test_fault_of_callbacks_may_be_for_pushes_only_whatever_its_service() -> None:
    faults = started(Fault(kind=FaultKind.DROP, service="mps", operation="Notify"))

    occasions = [Occasion(service="callback", operation=operation) for operation in ("", "Notify")]
    assert [bool(faults.strikes(occasion)) for occasion in occasions] == [False, True]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("faults.toml", '[[fault]]\nkind = "stall"\nprobability = 0.5\n'),
        ("faults.json", '{"fault": [{"kind": "stall", "probability": 0.5}]}'),
        ("list.json", '[{"kind": "stall", "probability": 0.5}]'),
    ],
)
def test_faults_are_read_from_files(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    assert read(path) == [Fault(kind=FaultKind.STALL, probability=0.5)]


def test_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text("[[fault]\n")

    with pytest.raises(FaultError, match=r"faults\.toml"):
        read(path)


def test_faults_are_set_shown_and_cleared_over_http(server: RunningEmulator, bare: BareMns) -> None:
    with httpx.Client(base_url=f"{server.url}/_emulator", trust_env=False, verify=False) as http:
        assert http.post("/faults", json={"kind": "throttle", "count": 1, "name": "busy"}).status_code == 201
        assert bare.receive("q").status_code == 429
        (entry,) = http.get("/faults").json()
        refused = http.post("/faults", json={"kind": "explode"})
        unmatched = http.post("/faults", json={"kind": "stall", "operation": "SubmitIProductionJobs"})
        assert http.delete("/faults").status_code == 204
        rest = http.get("/faults").json()

    assert (entry["name"], entry["kind"], entry["seen"], entry["happened"]) == ("busy", "throttle", 1, 1)
    assert (refused.status_code, "explode" in refused.text) == (400, True)
    assert (unmatched.status_code, "did you mean 'SubmitIProductionJob'?" in unmatched.text) == (400, True)
    assert rest == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"kind": "late", "seconds": NaN}', id="nan"),
        pytest.param(b'{"kind": "stall", "\\ud800": 1}', id="surrogate"),
        pytest.param(b"\xff", id="not-utf-8"),
        pytest.param(b"[%s]" % b",".join([b'{"kind": "stall"}'] * (MAX_FAULTS + 1)), id="too-many"),
    ],
)
def test_faults_that_cannot_be_read_are_refused_and_break_nothing(
    server: RunningEmulator, body: bytes
) -> None:
    with httpx.Client(base_url=f"{server.url}/_emulator", trust_env=False, verify=False) as http:
        assert http.post("/faults", content=body).status_code == 400
        shown = http.get("/faults")

    assert (shown.status_code, shown.json()) == (200, [])


def test_reset_brings_the_faults_of_the_start_back() -> None:
    with running(Options(faults=(Fault(kind=FaultKind.THROTTLE),))) as server:
        server.call(lambda emulator: emulator.faults.clear())
        server.call(Emulator.reset)

        assert [fault["kind"] for fault in server.call(lambda emulator: emulator.faults.report())] == [
            "throttle"
        ]
