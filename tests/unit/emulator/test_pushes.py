"""What topics push to HTTP endpoints: signed, in each format, and again until it is accepted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from listener.emulator import Emulator, Fault, FaultKind
from listener.emulator.mns.http_push import AT_A_TIME_TO_ONE, HttpPusher
from listener.emulator.mns.notifier import RETRIES, wait_before_retry
from listener.emulator.mns.topics import (
    ContentFormat,
    NotifyStrategy,
    Publication,
    Subscription,
    SubscriptionAttributes,
)
from listener.emulator.server import RunningEmulator
from tests.support.receiver import Received, Receiver, a_receiver
from tests.support.waiting import wait_until

QUEUE = "acs:mns:cn-shanghai:1234567890:queues/q"
PUBLICATION = Publication(topic_name="t", message_id="m", body="text", md5="", published_ms=0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


def a_subscription(url: str) -> Subscription:
    attributes = SubscriptionAttributes(endpoint=url)
    return Subscription(topic_name="t", name="s", attributes=attributes, created=0, modified=0)


def subscribe(server: RunningEmulator, endpoint: str, **attributes: Any) -> None:
    wanted = SubscriptionAttributes(endpoint=endpoint, **attributes)
    server.call(lambda emulator: emulator.mns.topics.create("t"))
    server.call(lambda emulator: emulator.mns.topics.subscribe("t", "s", wanted))


def publish(server: RunningEmulator, body: str = "text", tag: str = "") -> str:
    return server.call(lambda emulator: emulator.mns.topics.publish("t", body, tag=tag)).message_id


def report(server: RunningEmulator) -> dict[str, int]:
    pushes: dict[str, int] = server.call(lambda emulator: emulator.state()["pushes"])
    return pushes


def pushed(receiver: Receiver, count: int = 1) -> Received:
    """The push with this number, once it has arrived."""
    wait_until(lambda: len(receiver.requests) >= count)
    return receiver.requests[count - 1]


def advance(server: RunningEmulator, by: str | float) -> None:
    reply = httpx.post(f"{server.url}/_emulator/clock", json={"advance": by}, trust_env=False, timeout=60)
    assert reply.status_code == 200


def is_signed(push: Received) -> bool:
    """As a receiver checks a push by the documentation, with the certificate at the address that it names."""
    address = base64.b64decode(push.headers["x-mns-signing-cert-url"]).decode()
    key = x509.load_pem_x509_certificate(httpx.get(address, trust_env=False).content).public_key()
    assert isinstance(key, RSAPublicKey)
    lines = ["POST", *(push.headers[name] for name in ("content-md5", "content-type", "date"))]
    lines += sorted(f"{name}:{value}" for name, value in push.headers.items() if name.startswith("x-mns-"))
    text = "\n".join([*lines, push.path]).encode("latin-1")
    try:
        key.verify(base64.b64decode(push.headers["authorization"]), text, padding.PKCS1v15(), hashes.SHA1())
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("content", ContentFormat)
def test_push_can_be_verified_with_the_certificate_of_the_emulator(
    server: RunningEmulator, receiver: Receiver, content: ContentFormat
) -> None:
    subscribe(server, f"{receiver.url}?a=b%20c", notify_content_format=content)
    publish(server, "ä", "covér")
    push = pushed(receiver)

    assert is_signed(push)
    assert not is_signed(Received("/other", push.headers, push.body))
    assert push.path == "/hook?a=b%20c"
    digest = hashlib.md5(push.body).hexdigest()
    simplified = content == ContentFormat.SIMPLIFIED
    expected = digest.upper() if simplified else base64.b64encode(digest.encode()).decode()
    assert push.headers["content-md5"] == expected


def test_simplified_push_is_the_text_with_the_rest_in_headers(
    server: RunningEmulator, receiver: Receiver
) -> None:
    subscribe(server, receiver.url, notify_content_format=ContentFormat.SIMPLIFIED)
    message_id = publish(server, "text", "cover")
    push = pushed(receiver)

    assert push.body == b"text"
    headers = {name.removeprefix("x-mns-"): value for name, value in push.headers.items()}
    assert headers["content-type"] == "text/plain;charset=utf-8"
    assert (headers["message-id"], headers["message-tag"]) == (message_id, "cover")
    assert (headers["topic-name"], headers["subscription-name"]) == ("t", "s")
    assert headers["topic-owner"] == headers["subscriber"] == "1234567890"


def test_endpoint_without_a_path_is_pushed_to_notifications(
    server: RunningEmulator, receiver: Receiver
) -> None:
    subscribe(server, receiver.url.removesuffix("/hook"), notify_content_format=ContentFormat.JSON)
    publish(server)

    assert pushed(receiver).path == "/notifications"
    assert json.loads(pushed(receiver).body)["Message"] == "text"


def test_refused_push_is_tried_again_three_times_10_to_20_seconds_apart(
    server: RunningEmulator, receiver: Receiver
) -> None:
    receiver.status = 500
    subscribe(server, receiver.url)
    publish(server)
    wait_until(lambda: report(server)["failed"] == 1)

    advance(server, 9.9)
    assert len(receiver.requests) == 1
    advance(server, 10.2)
    assert len(receiver.requests) == 2
    advance(server, "1d")

    assert len(receiver.requests) == 4
    assert report(server) == {"accepted": 0, "failed": 4, "given_up": 1, "waiting": 0, "dropped": 0}
    assert len({each.headers["x-mns-request-id"] for each in receiver.requests}) == 4
    assert is_signed(receiver.requests[3])


def test_push_that_is_accepted_at_last_is_not_repeated(server: RunningEmulator, receiver: Receiver) -> None:
    receiver.status = 503
    subscribe(server, receiver.url, notify_strategy=NotifyStrategy.EXPONENTIAL_DECAY_RETRY)
    publish(server)
    wait_until(lambda: report(server)["failed"] == 1)
    advance(server, 1 + 2 + 4 + 7)  # the next retry is 8 seconds after the third
    assert len(receiver.requests) == 4
    receiver.status = 204
    advance(server, "1d")

    assert len(receiver.requests) == 5
    assert report(server)["accepted"] == 1


def test_exponential_decay_ends_after_a_day() -> None:
    strategy = NotifyStrategy.EXPONENTIAL_DECAY_RETRY
    waits = [
        wait_before_retry(number, strategy=strategy, rng=Random(1))
        for number in range(1, RETRIES[strategy] + 1)
    ]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256] + 167 * [512]


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9/hook", f"http://127.0.0.1/{'x' * 70_000}"], ids=["deaf", "too-long"]
)
def test_endpoint_that_does_not_listen_is_tried_again_until_its_subscription_is_gone(
    server: RunningEmulator, endpoint: str
) -> None:
    subscribe(server, endpoint)
    publish(server)
    wait_until(lambda: report(server)["failed"] == 1)
    advance(server, 20)
    assert report(server)["failed"] == 2

    server.call(lambda emulator: emulator.mns.topics.unsubscribe("t", "s"))
    advance(server, "1d")

    assert report(server) == {"accepted": 0, "failed": 2, "given_up": 0, "waiting": 0, "dropped": 0}


def test_queue_that_is_created_in_time_gets_the_message(server: RunningEmulator) -> None:
    subscribe(server, QUEUE)
    publish(server)
    server.call(lambda emulator: emulator.mns.create("q"))
    advance(server, 20)

    assert server.call(lambda emulator: emulator.mns.queue("q").counts()["active"]) == 1


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        (FaultKind.DROP, ["second"]),
        (FaultKind.DUPLICATE, ["first", "first", "second"]),
        (FaultKind.GARBLE, ["fi", "second"]),
        (FaultKind.LATE, ["second", "first"]),
        (FaultKind.REORDER, ["second", "first"]),
    ],
)
def test_faults_of_callbacks_reach_what_a_topic_pushes(
    server: RunningEmulator, kind: FaultKind, bodies: list[str]
) -> None:
    """The first publication is struck; a topic of another name would not be."""
    faults = [Fault(kind=kind, topic="t*", count=1, seconds=60), Fault(kind=FaultKind.DROP, topic="other")]
    server.call(lambda emulator: emulator.faults.add(faults))
    server.call(lambda emulator: emulator.mns.create("q"))
    subscribe(server, QUEUE, notify_content_format=ContentFormat.SIMPLIFIED)
    publish(server, "first")
    publish(server, "second")
    advance(server, 60)

    received = server.call(lambda emulator: emulator.mns.queue("q").take(16))
    assert [message.body for message in received] == bodies
    assert server.call(lambda emulator: emulator.faults.happened(kind)) == 1


def test_pushes_wait_for_their_turn(receiver: Receiver) -> None:
    """A push asks for the id of its request when its turn has come."""
    ids = iter(("1", "2"))
    begun: list[str] = []
    subscription = a_subscription(receiver.url)

    def new_id() -> str:
        begun.append(next(ids))
        return begun[-1]

    async def push_two() -> list[bool]:
        pusher = HttpPusher(base_url="http://127.0.0.1", new_id=new_id, at_a_time=1)
        both = [
            asyncio.ensure_future(
                pusher.push(receiver.url, "text", publication=PUBLICATION, subscription=subscription)
            )
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        assert begun == ["1"]
        return await asyncio.gather(*both)

    assert asyncio.run(push_two()) == [True, True]
    assert [each.headers["x-mns-request-id"] for each in receiver.requests] == ["1", "2"]


def test_endpoint_that_does_not_answer_holds_up_no_other(receiver: Receiver) -> None:
    receiver.gate.clear()
    done: list[str] = []

    async def push_all(other: Receiver) -> None:
        pusher = HttpPusher(base_url="http://127.0.0.1", new_id=str, at_a_time=AT_A_TIME_TO_ONE + 1)

        async def push(url: str) -> None:
            await pusher.push(url, "text", publication=PUBLICATION, subscription=a_subscription(url))
            done.append(url)

        hanging = [asyncio.ensure_future(push(receiver.url)) for _ in range(AT_A_TIME_TO_ONE + 1)]
        await asyncio.sleep(0)
        await push(other.url)
        receiver.gate.set()
        await asyncio.gather(*hanging)

    with a_receiver() as other:
        asyncio.run(push_all(other))
        assert done[0] == other.url


def test_push_that_waits_for_its_turn_ends_with_its_subscription(receiver: Receiver) -> None:
    subscription = a_subscription(receiver.url)

    async def push_two() -> list[bool]:
        pusher = HttpPusher(base_url="http://127.0.0.1", new_id=str, at_a_time=1)
        pushes = (
            pusher.push(receiver.url, "text", publication=PUBLICATION, subscription=subscription)
            for _ in range(2)
        )
        both = [asyncio.ensure_future(push) for push in pushes]
        await asyncio.sleep(0)
        subscription.ended = True
        return await asyncio.gather(*both)

    assert asyncio.run(push_two()) == [True, False]


def test_reset_ends_pushes_that_are_on_their_way(server: RunningEmulator, receiver: Receiver) -> None:
    """A jump of the clock would wait for them."""
    receiver.gate.clear()
    subscribe(server, receiver.url)
    publish(server)
    pushed(receiver)

    def reset(emulator: Emulator) -> list[int]:
        emulator.reset()
        return [push.cancelling() for push in emulator.clock._working]

    assert server.call(reset) == [1]


def test_nothing_that_waits_survives_a_reset(server: RunningEmulator, receiver: Receiver) -> None:
    receiver.gate.clear()
    subscribe(server, receiver.url)
    publish(server)
    pushed(receiver)
    server.call(lambda emulator: emulator.reset())
    receiver.status = 500
    receiver.gate.set()
    advance(server, "1d")

    assert len(receiver.requests) == 1
    assert report(server)["waiting"] == 0
