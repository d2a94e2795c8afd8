"""Setting up a queue over HTTP, and what the official SDK sees of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_admin import MnsQueueAdmin
from listener.core.errors import FailureKind, QueueUnavailable
from listener.emulator.server import RunningEmulator
from tests.support.cases import each_case
from tests.support.emulator_clients import mns_account
from tests.support.raw_server import http_reply, serving

WANTED = {
    "DelaySeconds": 1,
    "MaximumMessageSize": 2048,
    "MessageRetentionPeriod": 3600,
    "PollingWaitSeconds": 7,
    "VisibilityTimeout": 61,
}


def admin_of(url: str, queue: str, *, secret: str = "testKeySecret") -> MnsQueueAdmin:
    credentials = Credentials(lambda: AccessKey("testKeyId", secret))
    return MnsQueueAdmin(endpoint=url, queue=queue, name=queue, credentials=credentials)


@pytest.fixture
def admin(server: RunningEmulator) -> Iterator[MnsQueueAdmin]:
    new = admin_of(server.url, "new")
    yield new
    new.close()


def seen_by_sdk(server: RunningEmulator, queue: str) -> dict[str, Any]:
    with mns_account(server.url) as account:
        found = account.get_queue(queue).get_attributes()
    return {
        "DelaySeconds": found.delay_seconds,
        "MaximumMessageSize": found.maximum_message_size,
        "MessageRetentionPeriod": found.message_retention_period,
        "PollingWaitSeconds": found.polling_wait_seconds,
        "VisibilityTimeout": found.visibility_timeout,
    }


def test_a_queue_is_created_with_its_attributes(server: RunningEmulator, admin: MnsQueueAdmin) -> None:
    assert admin.attributes() is None

    admin.create(WANTED)

    assert admin.attributes() == seen_by_sdk(server, "new") == WANTED


def test_a_change_leaves_other_attributes_alone(server: RunningEmulator, admin: MnsQueueAdmin) -> None:
    admin.create(WANTED)
    admin.change({"VisibilityTimeout": 99})

    assert seen_by_sdk(server, "new") == WANTED | {"VisibilityTimeout": 99}


def test_a_queue_that_was_created_meanwhile_with_other_attributes_stays_as_it_is(
    server: RunningEmulator, admin: MnsQueueAdmin
) -> None:
    admin.create(WANTED)
    with pytest.raises(QueueUnavailable, match="QueueAlreadyExist"):
        admin.create(WANTED | {"DelaySeconds": 2})

    assert seen_by_sdk(server, "new") == WANTED


def test_what_is_sent_is_received_as_it_was(admin: MnsQueueAdmin) -> None:
    admin.create({})
    admin.send("<a> & b")

    (message,) = admin.receive(limit=16, wait=timedelta(seconds=20))
    assert message.body == "<a> & b"
    assert admin.delete([message]) == []


def test_a_delayed_message_is_received_later(server: RunningEmulator, admin: MnsQueueAdmin) -> None:
    admin.create({})
    admin.send("later", delay=timedelta(hours=1))

    assert admin.receive(limit=16, wait=timedelta(0)) == ()
    assert server.call(lambda emulator: emulator.mns.queues["new"].counts())["delayed"] == 1


def test_a_refused_key_is_reported_with_its_cause(server: RunningEmulator) -> None:
    admin = admin_of(server.url, "q", secret="not-testKeySecret")
    with pytest.raises(QueueUnavailable, match="belong together") as caught:
        admin.attributes()
    admin.close()

    assert caught.value.kind == FailureKind.CREDENTIALS


def test_a_missing_right_names_the_actions_that_setting_up_needs() -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    with serving([http_reply(body, status="403 Forbidden")]) as server:
        admin = admin_of(server.url, "q")
        with pytest.raises(QueueUnavailable, match="mns:CreateQueue"):
            admin.attributes()
        admin.close()


@each_case(
    "body",
    [
        pytest.param(b"<Queue><DelaySeconds>0</DelaySeconds></Queue>", id="one-attribute"),
        pytest.param(
            b"<Queue><DelaySeconds>0</DelaySeconds><VisibilityTimeout>soon</VisibilityTimeout></Queue>",
            id="no-number",
        ),
    ],
)
def test_attributes_that_are_not_reported_are_left_out(body: bytes) -> None:
    with serving([http_reply(body)]) as server:
        admin = admin_of(server.url, "q")
        assert admin.attributes() == {"DelaySeconds": 0}
        admin.close()


def test_a_portal_is_not_taken_for_a_queue() -> None:
    with serving([http_reply(b"<html><body>Log in</body></html>")]) as server:
        admin = admin_of(server.url, "q")
        with pytest.raises(QueueUnavailable, match="not from MNS"):
            admin.attributes()
        admin.close()
