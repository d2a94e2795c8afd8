"""The operations of MNS on topics and subscriptions: each is one method that makes a reply of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from listener.emulator.messages import Reply, Request
from listener.emulator.mns import xml
from listener.emulator.mns.arguments import in_range, truth
from listener.emulator.mns.errors import MnsError, schema_text
from listener.emulator.mns.listing import page_of
from listener.emulator.mns.operations import MnsOperation
from listener.emulator.mns.topics import (
    ACCOUNT_ID,
    RETENTION_SECONDS,
    ContentFormat,
    NotifyStrategy,
    Subscription,
    SubscriptionAttributes,
    Topic,
    TopicAttributes,
    Topics,
)

Word = TypeVar("Word", bound=StrEnum)


class TopicOperations:
    """What can be done with the topics of one account."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.by_name: Mapping[str, MnsOperation] = {
            "CreateTopic": self._create_topic,
            "SetTopicAttributes": self._set_topic_attributes,
            "GetTopicAttributes": self._get_topic_attributes,
            "DeleteTopic": self._delete_topic,
            "ListTopic": self._list_topic,
            "PublishMessage": self._publish,
            "Subscribe": self._subscribe,
            "SetSubscriptionAttributes": self._set_subscription_attributes,
            "GetSubscriptionAttributes": self._get_subscription_attributes,
            "Unsubscribe": self._unsubscribe,
            "ListSubscriptionByTopic": self._list_subscription,
        }

    # Topics

    def _create_topic(self, request: Request) -> Reply:
        created = self._topics.create(
            topic_name(request), _topic_attributes(request.body, base=TopicAttributes())
        )
        return _created(created, request)

    def _set_topic_attributes(self, request: Request) -> Reply:
        topic = self._topic_of(request)
        self._topics.change(topic.name, _topic_attributes(request.body, base=topic.attributes))
        return Reply(status=204)

    def _get_topic_attributes(self, request: Request) -> Reply:
        return Reply(status=200, body=xml.flat("Topic", _topic_fields(self._topic_of(request))))

    def _delete_topic(self, request: Request) -> Reply:
        """Deleting what is not there counts as done: the documentation has no error for it."""
        self._topics.delete(topic_name(request))
        return Reply(status=204)

    def _list_topic(self, request: Request) -> Reply:
        page = page_of(self._topics.by_name, request)
        records: list[list[tuple[str, object]]] = [
            [
                ("TopicURL", f"http://{request.host}/topics/{name}"),
                *(_topic_fields(self._topics.topic(name)) if page.with_meta else ()),
            ]
            for name in page.names
        ]
        return Reply(status=200, body=xml.nested("Topics", "Topic", records, tail=page.tail))

    def _publish(self, request: Request) -> Reply:
        topic = self._topic_of(request)
        root = xml.parse(request.body)
        if xml.local(root) != "Message":
            raise MnsError("InvalidArgument", schema_text(f"unexpected element {xml.local(root)}"))
        fields = xml.children(root)
        published = self._topics.publish(
            topic.name,
            fields.get("MessageBody", ""),
            tag=fields.get("MessageTag", ""),
            group=fields.get("MessageGroupId", ""),
            properties=xml.properties(root),
        )
        reply = [("MessageId", published.message_id), ("MessageBodyMD5", published.md5)]
        return Reply(status=201, body=xml.flat("Message", reply))

    # Subscriptions

    def _subscribe(self, request: Request) -> Reply:
        topic = self._topic_of(request)
        fields = xml.children(xml.parse(request.body))
        if "Endpoint" not in fields:
            raise MnsError("InvalidArgument", schema_text("Endpoint is missing"))
        attributes = SubscriptionAttributes(
            endpoint=fields["Endpoint"],
            filter_tag=fields.get("FilterTag", ""),
            notify_strategy=_word(fields, "NotifyStrategy", NotifyStrategy.BACKOFF_RETRY),
            notify_content_format=_word(fields, "NotifyContentFormat", ContentFormat.XML),
        )
        return _created(self._topics.subscribe(topic.name, subscription_name(request), attributes), request)

    def _set_subscription_attributes(self, request: Request) -> Reply:
        """Only the strategy can be set; other elements are ignored, as the documentation names none."""
        subscription = self._subscription_of(request)
        fields = xml.children(xml.parse(request.body)) if request.body.strip() else {}
        strategy = _word(fields, "NotifyStrategy", subscription.attributes.notify_strategy)
        self._topics.set_strategy(subscription.topic_name, subscription.name, strategy)
        return Reply(status=204)

    def _get_subscription_attributes(self, request: Request) -> Reply:
        fields = _subscription_fields(self._subscription_of(request))
        return Reply(status=200, body=xml.flat("Subscription", fields))

    def _unsubscribe(self, request: Request) -> Reply:
        """As for a topic, deleting what is not there counts as done."""
        self._topics.unsubscribe(topic_name(request), subscription_name(request))
        return Reply(status=204)

    def _list_subscription(self, request: Request) -> Reply:
        topic = self._topic_of(request)
        page = page_of(topic.subscriptions, request)
        url = f"http://{request.host}/topics/{topic.name}/subscriptions"
        records = [[("SubscriptionURL", f"{url}/{name}")] for name in page.names]
        return Reply(status=200, body=xml.nested("Subscriptions", "Subscription", records, tail=page.tail))

    def _topic_of(self, request: Request) -> Topic:
        return self._topics.topic(topic_name(request))

    def _subscription_of(self, request: Request) -> Subscription:
        return self._topics.subscription(topic_name(request), subscription_name(request))


def topic_name(request: Request) -> str:
    return request.path.split("/")[2]


def subscription_name(request: Request) -> str:
    return request.path.split("/")[4]


def _created(created: bool, request: Request) -> Reply:
    """The reply to the creation of what the path names; 204 if it was there already, just like that."""
    location = (("Location", f"http://{request.host}{request.path}"),)
    return Reply(status=201 if created else 204, headers=location)


def _topic_attributes(body: bytes, *, base: TopicAttributes) -> TopicAttributes:
    """The attributes that a request's XML names, over those that it leaves alone."""
    fields = xml.children(xml.parse(body)) if body.strip() else {}
    if size := fields.get("MaximumMessageSize"):
        limit = in_range(size, "MaximumMessageSize", 1024, 65_536, "bytes")
        base = replace(base, maximum_message_size=limit)
    if "LoggingEnabled" in fields:
        base = replace(base, logging_enabled=truth(fields["LoggingEnabled"]))
    return base


def _word(fields: Mapping[str, str], element: str, default: Word) -> Word:
    """An element that is one of the words of an enumeration."""
    try:
        return type(default)(fields.get(element, default))
    except ValueError as error:
        allowed = ", ".join(type(default))
        raise MnsError("InvalidArgument", schema_text(f"{element} is none of {allowed}")) from error


def _topic_fields(topic: Topic) -> list[tuple[str, object]]:
    """MessageCount is 0: a message leaves the topic when it is pushed, and retries are not counted."""
    return [
        ("TopicName", topic.name),
        ("CreateTime", topic.created),
        ("LastModifyTime", topic.modified),
        ("MaximumMessageSize", topic.attributes.maximum_message_size),
        ("MessageRetentionPeriod", RETENTION_SECONDS),
        ("MessageCount", 0),
        ("LoggingEnabled", topic.attributes.logging_enabled),
    ]


def _subscription_fields(subscription: Subscription) -> list[tuple[str, object]]:
    attributes = subscription.attributes
    return [
        ("SubscriptionName", subscription.name),
        ("Subscriber", ACCOUNT_ID),
        ("TopicOwner", ACCOUNT_ID),
        ("TopicName", subscription.topic_name),
        ("Endpoint", attributes.endpoint),
        ("NotifyStrategy", attributes.notify_strategy),
        ("NotifyContentFormat", attributes.notify_content_format),
        *([("FilterTag", attributes.filter_tag)] if attributes.filter_tag else []),
        ("CreateTime", subscription.created),
        ("LastModifyTime", subscription.modified),
    ]
