"""The official MNS SDK against the emulator, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from mns.message_property import (
    MessagePropertyValue,
    MessageSystemPropertyValue,
    PropertyType,
    SystemPropertyType,
)
from mns.mns_exception import MNSServerException
from mns.queue import Message, Queue, QueueMeta

from listener.emulator import Emulator
from listener.emulator.server import RunningEmulator


@pytest.fixture
def queue(account: Any) -> Queue:
    queue = account.get_queue("sdk")
    queue.create(QueueMeta())
    return queue


def test_message_travels_from_send_to_delete(queue: Queue) -> None:
    sent = queue.send_message(Message("hello"))
    received = queue.receive_message(1)

    assert (received.message_body, received.message_id) == (b"hello", sent.message_id)
    assert received.message_body_md5 == sent.message_body_md5
    assert received.dequeue_count == 1
    queue.delete_message(received.receipt_handle)
    with pytest.raises(MNSServerException):
        queue.peek_message()


def test_batches_of_sixteen_travel_whole(queue: Queue) -> None:
    queue.batch_send_message([Message(f"m{number}") for number in range(16)])
    peeked = queue.batch_peek_message(16)
    received = queue.batch_receive_message(16)

    assert [message.message_body for message in received] == [f"m{number}".encode() for number in range(16)]
    assert [message.message_id for message in peeked] == [message.message_id for message in received]
    queue.batch_delete_message([message.receipt_handle for message in received])
    with pytest.raises(MNSServerException) as empty:
        queue.batch_receive_message(16)
    assert empty.value.type == "MessageNotExist"


def test_partly_failed_batch_delete_names_only_the_bad_handles(queue: Queue) -> None:
    queue.send_message(Message("one"))
    good = queue.receive_message(1).receipt_handle

    with pytest.raises(MNSServerException) as failure:
        queue.batch_delete_message([good, "8-NoSuchHandleThatLooksLikeOne00000", "garbage"])

    assert [(error["ErrorCode"], error["ReceiptHandle"]) for error in failure.value.sub_errors] == [
        ("MessageNotExist", "8-NoSuchHandleThatLooksLikeOne00000"),
        ("ReceiptHandleError", "garbage"),
    ]
    with pytest.raises(MNSServerException):
        queue.delete_message(good)


def test_partly_failed_batch_send_keeps_the_good_ones(queue: Queue) -> None:
    bad = Message("bad")
    bad.set_priority(1)
    bad.priority = 99
    with pytest.raises(MNSServerException) as failure:
        queue.batch_send_message([Message("good"), bad])

    assert failure.value.type == "InvalidArgument"
    assert [sorted(entry) for entry in failure.value.sub_errors] == [
        ["MessageBodyMD5", "MessageId"],
        ["ErrorCode", "ErrorMessage"],
    ]
    assert queue.receive_message(1).message_body == b"good"


def test_visibility_change_gives_a_new_handle(queue: Queue) -> None:
    queue.send_message(Message("one"))
    first = queue.receive_message(1)
    changed = queue.change_message_visibility(first.receipt_handle, 60)

    assert changed.receipt_handle != first.receipt_handle
    assert int(changed.next_visible_time) > first.next_visible_time
    with pytest.raises(MNSServerException) as old:
        queue.delete_message(first.receipt_handle)
    assert old.value.type == "MessageNotExist"
    queue.delete_message(changed.receipt_handle)


def test_properties_come_back_as_they_were_sent(queue: Queue) -> None:
    message = Message("with properties")
    message.user_properties = {
        "text": MessagePropertyValue(PropertyType.STRING, "a <b> & c"),
        "bytes": MessagePropertyValue(PropertyType.BINARY, b"\x00\xff"),
    }
    message.system_properties = {
        "traceparent": MessageSystemPropertyValue(SystemPropertyType.STRING, "00-ab-cd-01")
    }
    message.message_group_id = "group"
    queue.send_message(message)
    received = queue.receive_message(1)

    assert received.user_properties["text"].get_string_value_by_type() == "a <b> & c"
    assert received.user_properties["bytes"].get_binary_value() == b"\x00\xff"
    assert received.system_properties["traceparent"].get_string_value_by_type() == "00-ab-cd-01"
    assert received.message_group_id == "group"


# The SDK warns about counters that it fills in itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_queue_attributes_are_kept_and_changed_one_by_one(account: Any) -> None:
    queue = account.get_queue("attributes")
    queue.create(QueueMeta(vis_timeout=45, polling_wait_sec=5))
    queue.set_attributes(QueueMeta(delay_sec=3))
    attributes = queue.get_attributes()

    assert (attributes.visibility_timeout, attributes.polling_wait_seconds) == (45, 5)
    assert attributes.delay_seconds == 3
    assert attributes.message_retention_period == 345_600


def test_same_queue_may_be_created_twice_but_not_with_other_attributes(account: Any) -> None:
    queue = account.get_queue("twice")

    assert queue.create(QueueMeta()) == queue.create(QueueMeta())
    with pytest.raises(MNSServerException) as conflict:
        queue.create(QueueMeta(vis_timeout=31))
    assert conflict.value.type == "QueueAlreadyExist"


def test_queues_are_listed_page_by_page(account: Any) -> None:
    for name in ("a-1", "a-2", "a-3", "b-1"):
        account.get_queue(name).create(QueueMeta())

    first, marker = account.list_queue("a-", 2)
    rest, end = account.list_queue("a-", 2, marker)

    assert [url.rpartition("/")[2] for url in first + rest] == ["a-1", "a-2", "a-3"]
    assert end == ""


def test_deleted_queue_is_gone(queue: Queue) -> None:
    queue.delete()

    with pytest.raises(MNSServerException) as missing:
        queue.receive_message(1)
    assert missing.value.type == "QueueNotExist"


def test_account_keeps_its_logging_bucket(account: Any) -> None:
    from mns.account import AccountMeta

    account.set_attributes(AccountMeta("bucket"))

    assert account.get_attributes().logging_bucket == "bucket"


def test_reset_forgets_the_logging_bucket(server: RunningEmulator, account: Any) -> None:
    from mns.account import AccountMeta

    account.set_attributes(AccountMeta("bucket"))
    server.call(Emulator.reset)

    assert account.get_attributes().logging_bucket == ""


def test_wrong_secret_is_refused(server: Any) -> None:
    from mns.account import Account

    account = Account(server.url, "testKeyId", "wrong")
    with pytest.raises(MNSServerException) as refusal:
        account.list_queue()
    account.get_client().close_connection()
    assert refusal.value.type == "SignatureDoesNotMatch"


def test_security_token_is_accepted(server: Any) -> None:
    from mns.account import Account

    account = Account(server.url, "testKeyId", "testKeySecret", security_token="token")
    urls, _ = account.list_queue()
    account.get_client().close_connection()
    assert urls == []
