"""``/_emulator/requests``: what was asked, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from listener.emulator import Emulator, Fault, FaultKind
from listener.emulator.faults import Occasion
from listener.emulator.messages import Reply, Request
from listener.emulator.request_log import BODY_BYTES, KEPT, RequestLog
from listener.emulator.server import RunningEmulator
from tests.support.emulator_clients import NOTIFY, BareMns, BareMps, elements


@pytest.fixture
def control(server: RunningEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/_emulator", trust_env=False, verify=False) as client:
        yield client


def requests(control: httpx.Client, **filters: object) -> list[dict[str, Any]]:
    reply = control.get("/requests", params={name: str(value) for name, value in filters.items()})
    assert reply.status_code == 200
    shown: list[dict[str, Any]] = reply.json()
    return shown


def test_each_request_is_shown_with_what_became_of_it(
    control: httpx.Client, bare: BareMns, mps: BareMps
) -> None:
    message_id = elements(bare.send("q", "x"))["MessageId"]
    bare.send("none", "x")
    job_id = mps.call("SubmitIProductionJob", FunctionName="Cover", NotifyUrl=NOTIFY).json()["JobId"]
    mps.call("SubmitIProductionJob", NotifyUrl=NOTIFY)

    shown = requests(control, after=1)

    assert [(each["operation"], each["queue"], each["status"], each["code"]) for each in shown] == [
        ("SendMessage", "q", 201, ""),
        ("SendMessage", "none", 404, "QueueNotExist"),
        ("SubmitIProductionJob", "", 200, ""),
        ("SubmitIProductionJob", "", 400, "MissingParameter"),
    ]
    assert (shown[0]["message_ids"], shown[2]["job_ids"], shown[2]["function"]) == (
        [message_id],
        [job_id],
        "Cover",
    )


def test_a_fault_is_shown_at_the_requests_that_it_affected(
    server: RunningEmulator, control: httpx.Client, bare: BareMns
) -> None:
    bare.send("q", "x")
    fault = Fault(kind=FaultKind.THROTTLE, operation="SendMessage", count=1)
    server.call(lambda emulator: emulator.faults.add([fault]))
    bare.send("q", "x")
    bare.send("q", "x")

    sent = [each["faults"] for each in requests(control, operation="SendMessage")]

    assert sent == [[], ["throttle"], []]
    assert [each["code"] for each in requests(control, fault="throttle")] == ["TooManyRequests"]


def test_requests_are_selected_by_patterns(control: httpx.Client, bare: BareMns) -> None:
    message_id = elements(bare.send("q", "x"))["MessageId"]
    bare.receive("q")
    bare.receive("q")

    assert len(requests(control, operation="*Receive*")) == 2
    assert len(requests(control, operation="*Receive*", status="404")) == 1
    assert [each["operation"] for each in requests(control, message_id=message_id)] == [
        "SendMessage",
        "ReceiveMessage",
    ]
    assert requests(control, queue="other") == []


@pytest.mark.parametrize("query", ["colour=red", "after=-1", "after=x"])
def test_an_unknown_filter_is_refused(control: httpx.Client, query: str) -> None:
    assert control.get(f"/requests?{query}").status_code == 400


def test_a_reset_forgets_the_requests(server: RunningEmulator, control: httpx.Client, bare: BareMns) -> None:
    bare.send("q", "x")

    server.call(Emulator.reset)

    assert requests(control) == []


def test_the_log_is_bounded_in_number_and_size() -> None:
    log = RequestLog()
    long = "x" * 70_000
    request = Request(method="GET", path=long, target=long, raw_query="", headers={}, body=b"")
    occasion = Occasion(service="mns", operation=long, queue=long, topic=long, function=long)
    for _ in range(KEPT + 1):
        log.add(request, occasion, at_ms=0).answered(Reply(status=200, body=long.encode()))
    shown = log.select({})

    assert [each["number"] for each in shown] == list(range(2, KEPT + 2))
    assert {len(logged.reply.body) for logged in log._requests if logged.reply} == {BODY_BYTES}
    assert len(str(shown[0])) < 4096
