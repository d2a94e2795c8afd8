"""Topics with the official MNS SDK, over HTTP."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from mns.message_property import MessagePropertyValue, PropertyType
from mns.mns_exception import MNSServerException
from mns.queue import QueueMeta
from mns.subscription import Subscription, SubscriptionMeta
from mns.topic import Base64TopicMessage, DirectMailInfo, Topic, TopicMessage, TopicMeta

from tests.support.emulator_clients import BareMns, elements

QUEUE = "acs:mns:cn-shanghai:1234567890:queues/sdk"


@pytest.fixture
def topic(account: Any) -> Topic:
    topic = account.get_topic("news")
    topic.create(TopicMeta())
    return topic


@pytest.fixture
def queue(account: Any) -> Any:
    queue = account.get_queue("sdk")
    queue.set_encoding(False)
    queue.create(QueueMeta())
    return queue


def subscribed(topic: Topic, name: str = "to-queue", **attributes: str) -> Subscription:
    subscription = topic.get_subscription(name)
    subscription.subscribe(SubscriptionMeta(QUEUE, **attributes))
    return subscription


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(MNSServerException) as failure:
        call(*arguments)
    return str(failure.value.type)


def test_topic_lives_from_creation_to_deletion(topic: Topic, account: Any) -> None:
    assert topic.create(TopicMeta()).endswith("/topics/news")
    assert code_of(topic.create, TopicMeta(maximum_message_size=2048)) == "TopicAlreadyExist"

    topic.set_attributes(TopicMeta(maximum_message_size=2048, logging_enabled=True))
    topic.set_attributes(TopicMeta())
    attributes = topic.get_attributes()
    assert (attributes.topic_name, attributes.maximum_message_size) == ("news", 2048)
    assert (attributes.logging_enabled, attributes.message_retention_period) == (True, 86_400)
    assert attributes.create_time == attributes.last_modify_time or attributes.create_time > 0
    assert code_of(topic.set_attributes, TopicMeta(maximum_message_size=512)) == "InvalidArgument"

    topic.delete()
    topic.delete()
    assert code_of(topic.get_attributes) == "TopicNotExist"
    assert code_of(topic.publish_message, TopicMessage("a")) == "TopicNotExist"
    assert code_of(topic.list_subscription) == "TopicNotExist"


def test_topics_and_subscriptions_are_listed_in_pages(topic: Topic, account: Any) -> None:
    for name in ("a-1", "a-2", "a-3"):
        account.get_topic(name).create(TopicMeta())
        subscribed(topic, name)

    urls, marker = topic.list_subscription("a-", 2)
    rest, end = topic.list_subscription("a-", 2, marker)
    assert [url.rpartition("/topics/")[2] for url in urls + rest] == [
        f"news/subscriptions/a-{number}" for number in (1, 2, 3)
    ]
    assert end == ""
    assert account.get_topic("a-1").list_subscription() == ([], "")

    urls, marker = account.list_topic("a-", 2)
    assert [url.rpartition("/")[2] for url in urls] == ["a-1", "a-2"]
    assert account.list_topic("a-", 2, marker)[1] == ""


def test_subscription_lives_from_creation_to_deletion(topic: Topic) -> None:
    subscription = subscribed(topic, notify_content_format="JSON", filter_tag="cover")
    assert code_of(subscription.subscribe, SubscriptionMeta(QUEUE)) == "SubscriptionAlreadyExist"

    subscription.set_attributes(SubscriptionMeta(notify_strategy="EXPONENTIAL_DECAY_RETRY"))
    attributes = subscription.get_attributes()
    assert (attributes.endpoint, attributes.filter_tag) == (QUEUE, "cover")
    assert attributes.notify_strategy == "EXPONENTIAL_DECAY_RETRY"
    assert attributes.notify_content_format == "JSON"
    assert (attributes.topic_name, attributes.subscription_name) == ("news", "to-queue")

    subscription.unsubscribe()
    subscription.unsubscribe()
    assert code_of(subscription.get_attributes) == "SubscriptionNotExist"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"notify_strategy": "NEVER"}, "InvalidArgument"),
        ({"notify_content_format": "YAML"}, "InvalidArgument"),
        ({"endpoint": "http://192.0.2.1/"}, "EndpointInvalid"),
        ({"endpoint": ""}, "InvalidArgument"),
    ],
)
def test_wrong_subscription_is_refused(topic: Topic, attributes: dict[str, str], code: str) -> None:
    meta = SubscriptionMeta(**{"endpoint": QUEUE, **attributes})

    assert code_of(topic.get_subscription("s").subscribe, meta) == code


@pytest.mark.parametrize("content", ["XML", "JSON", "SIMPLIFIED"])
def test_each_content_format_arrives_in_the_queue(topic: Topic, queue: Any, content: str) -> None:
    subscribed(topic, notify_content_format=content)
    text = 'ä <b>&"c"</b>'

    published = topic.publish_message(TopicMessage(text, "cover"))

    body = queue.receive_message(1).message_body
    if content == "SIMPLIFIED":
        assert body == text
        return
    if content == "JSON":
        members = json.loads(body)
    else:
        members = {child.tag.rpartition("}")[2]: child.text for child in ElementTree.fromstring(body)}
    assert int(members.pop("PublishTime")) > 0
    assert members == {
        "TopicOwner": "1234567890",
        "TopicName": "news",
        "Subscriber": "1234567890",
        "SubscriptionName": "to-queue",
        "MessageId": published.message_id,
        "Message": text,
        "MessageMD5": published.message_body_md5,
        "MessageTag": "cover",
    }


def test_filter_tag_selects_and_properties_travel(topic: Topic, queue: Any) -> None:
    subscribed(topic, notify_content_format="SIMPLIFIED", filter_tag="cover")
    message = Base64TopicMessage("hello", "cover")
    message.add_user_property("team", MessagePropertyValue(PropertyType.STRING, "video"))

    topic.publish_message(TopicMessage("other"))
    topic.publish_message(message)

    received = queue.batch_receive_message(16)
    assert [each.message_body for each in received] == ["aGVsbG8="]
    assert received[0].user_properties["team"].get_string_value_by_type() == "video"


def test_mail_and_sms_beside_a_message_are_ignored(topic: Topic, queue: Any) -> None:
    subscribed(topic, notify_content_format="SIMPLIFIED")
    message = TopicMessage("hello", direct_mail=DirectMailInfo("a@example.com", "subject", 0, 0, 0))

    topic.publish_message(message)

    assert queue.receive_message(1).message_body == "hello"


def test_too_large_a_message_is_refused(topic: Topic) -> None:
    topic.set_attributes(TopicMeta(maximum_message_size=1024))

    assert code_of(topic.publish_message, TopicMessage("x" * 1025)) == "InvalidArgument"


def test_group_of_a_message_goes_on_to_the_queue(topic: Topic, queue: Any, bare: BareMns) -> None:
    subscribed(topic, notify_content_format="SIMPLIFIED")

    topic.publish_message(TopicMessage("hello", message_group_id="g"))

    assert elements(bare.receive("sdk"))["MessageGroupId"] == "g"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/topics"),
        ("POST", "/topics/t"),
        ("GET", "/topics/t/messages"),
        ("PUT", "/topics/t/subscriptions"),
        ("GET", "/topics/t/subscriptions/s/x"),
    ],
)
def test_unknown_operation_on_topics_is_an_error_of_mns(bare: BareMns, method: str, target: str) -> None:
    reply = bare.request(method, target)

    assert (reply.status_code, elements(reply)["Code"]) == (400, "InvalidRequestURL")
