"""The clock of the emulator: what takes days takes moments, in the right order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import httpx
import pytest

from listener.emulator import Emulator, Fault, FaultKind, Options
from listener.emulator.server import RunningEmulator, running
from listener.emulator.virtual_clock import VirtualClock
from tests.support.clocks import freeze_time
from tests.support.emulator_clients import NOTIFY, BareMns, BareMps, elements
from tests.support.waiting import wait_until


@pytest.fixture
def control(server: RunningEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/_emulator", trust_env=False, verify=False) as client:
        yield client


def advance(control: httpx.Client, by: object) -> None:
    assert control.post("/clock", json={"advance": by}).status_code == 200


def test_a_delay_and_a_visibility_timeout_pass_at_once(control: httpx.Client, bare: BareMns) -> None:
    bare.send("q", "x", DelaySeconds=300_000)
    advance(control, "300000s")
    handle = elements(bare.receive("q"))["ReceiptHandle"]

    assert bare.receive("q").status_code == 404
    advance(control, 30)
    again = elements(bare.receive("q"))

    assert (again["DequeueCount"], again["ReceiptHandle"] != handle) == ("2", True)


def test_seven_days_of_retention_pass_at_once(control: httpx.Client, bare: BareMns) -> None:
    bare.send("q", "x")
    advance(control, "3d23h")
    assert bare.request("GET", "/queues/q/messages?peekonly=true").status_code == 200

    advance(control, "3d1h")

    assert bare.receive("q").status_code == 404


def test_a_long_poll_gets_what_becomes_visible_on_the_way(server: RunningEmulator) -> None:
    """The message would have expired at the end of the jump."""
    replies: list[httpx.Response] = []
    client = BareMns(server.url)
    client.request("PUT", "/queues/q")
    client.send("q", "x", DelaySeconds=20)
    poll = threading.Thread(target=lambda: replies.append(client.receive("q", "?waitseconds=30")))
    poll.start()
    wait_until(lambda: server.call(lambda emulator: len(emulator.mns.queues["q"]._waiters)) == 1)

    httpx.post(f"{server.url}/_emulator/clock", json={"advance": "7d"}, trust_env=False)
    poll.join(30)
    client.http.close()

    received = elements(replies[0])
    assert int(received["FirstDequeueTime"]) - int(received["EnqueueTime"]) in range(20_000, 30_000)


def test_a_long_poll_ends_when_its_time_has_passed(server: RunningEmulator, control: httpx.Client) -> None:
    statuses: list[int] = []
    client = BareMns(server.url)
    client.request("PUT", "/queues/q")
    poll = threading.Thread(
        target=lambda: statuses.append(client.receive("q", "?waitseconds=30").status_code)
    )
    poll.start()
    wait_until(lambda: server.call(lambda emulator: len(emulator.mns.queues["q"]._waiters)) == 1)

    advance(control, 30)
    poll.join(30)
    client.http.close()

    assert statuses == [404]


def test_jobs_end_in_their_order_and_at_their_own_times() -> None:
    options = Options(durations={"Cover": 3600, "VideoSplit": 60}, queues=("q",))
    with running(options) as server:
        mps, mns = BareMps(server.url), BareMns(server.url)
        for function in ("Cover", "VideoSplit"):
            mps.call("SubmitIProductionJob", FunctionName=function, NotifyUrl=NOTIFY)
        httpx.post(f"{server.url}/_emulator/clock", json={"advance": "1d"}, trust_env=False)
        sent = [int(elements(mns.receive("q"))["EnqueueTime"]) for _ in range(2)]
        took = server.call(
            lambda emulator: [job.finished - job.started for job in emulator.engine.jobs.values()]
        )
        mps.http.close()
        mns.http.close()

    assert [round(each) for each in took] == [3600, 60]
    assert round((sent[1] - sent[0]) / 1000) == 3540


def test_a_late_callback_comes_once_its_time_has_passed() -> None:
    late = Fault(kind=FaultKind.LATE, seconds=86_400)
    with running(Options(queues=("q",), job_seconds=1, faults=(late,))) as server:
        mps, mns = BareMps(server.url), BareMns(server.url)
        mps.call("SubmitIProductionJob", FunctionName="Cover", NotifyUrl=NOTIFY)
        httpx.post(f"{server.url}/_emulator/clock", json={"advance": "1h"}, trust_env=False)
        before = mns.receive("q").status_code
        httpx.post(f"{server.url}/_emulator/clock", json={"advance": "1d"}, trust_env=False)
        after = mns.receive("q").status_code
        mps.http.close()
        mns.http.close()

    assert (before, after) == (404, 200)


def test_time_passes_as_fast_as_the_scale_says() -> None:
    with freeze_time() as frozen:
        clock = VirtualClock(3600)
        start = clock.now()
        frozen.tick(2)

        assert clock.now() - start == timedelta(hours=2)


def test_a_job_of_hours_ends_within_moments_at_an_hour_a_second() -> None:
    with running(Options(queues=("q",), job_seconds=36_000, time_scale=360_000)) as server:
        mps, mns = BareMps(server.url), BareMns(server.url)
        mps.call("SubmitIProductionJob", FunctionName="Cover", NotifyUrl=NOTIFY)

        wait_until(lambda: server.call(lambda emulator: emulator.sender.deliveries.sent) == 1)
        mps.http.close()
        mns.http.close()


def test_what_waits_is_not_late_when_time_begins_to_pass_faster(server: RunningEmulator) -> None:
    woken: list[str] = []
    server.call(lambda emulator: emulator.clock.call_later(36_000, lambda: woken.append("x")))

    shown = httpx.post(f"{server.url}/_emulator/clock", json={"time_scale": 360_000}, trust_env=False).json()

    assert shown["time_scale"] == 360_000
    wait_until(lambda: woken == ["x"])


def test_a_reset_returns_to_the_wall_clock(server: RunningEmulator, control: httpx.Client) -> None:
    advance(control, "7d")
    assert control.get("/clock").json()["ahead_seconds"] == 604_800

    server.call(Emulator.reset)

    assert control.get("/clock").json()["ahead_seconds"] == 0


@pytest.mark.parametrize(
    "change",
    [
        b'{"advance": "-1d"}',
        b'{"advance": NaN}',
        b'{"time_scale": 0}',
        b'{"time_scale": "fast"}',
        b"{}",
        b"[" * 9000,
    ],
)
def test_a_change_that_cannot_be_is_refused(control: httpx.Client, change: bytes) -> None:
    before = control.get("/clock").json()["time_scale"]

    assert control.post("/clock", content=change).status_code == 400
    assert control.get("/clock").json()["time_scale"] == before


def test_the_clock_does_not_leave_the_years_that_texts_can_show(control: httpx.Client) -> None:
    for _ in range(98):
        control.post("/clock", json={"advance": "3650d"})

    assert control.post("/clock", json={"advance": "3650d"}).status_code == 400
    assert control.get("/clock").json()["now"] < "3000"


class Counted(float):
    """Seconds that count how often they are compared."""

    compared = 0

    def __radd__(self, other: float) -> Counted:
        return Counted(other + float(self))

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) < other


def test_a_jump_over_many_timers_does_not_search_all_for_each() -> None:
    fired: list[int] = []

    async def scenario() -> None:
        clock = VirtualClock()
        for number in reversed(range(300)):
            clock.call_later(Counted(1 + number), partial(fired.append, number))
        Counted.compared = 0
        await clock.advance(1000)

    asyncio.run(scenario())

    assert fired == list(range(300))
    assert Counted.compared < 300 * 50
