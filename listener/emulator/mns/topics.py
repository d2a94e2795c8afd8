"""Topics, their subscriptions, and what is published to them.

Knows nothing of protocols, nor of how a publication reaches an endpoint: that is what ``notify`` does. Errors leave as
``MnsError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

from listener.emulator.mns.endpoints import Endpoint, parse_endpoint
from listener.emulator.mns.errors import MnsError, range_text
from listener.emulator.mns.features import SubscriptionFeatures, TopicFeatures
from listener.emulator.mns.queue import body_md5
from listener.emulator.virtual_clock import VirtualClock

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
NAME_LENGTH = 255
TAG_LENGTH = 16
#: How long a topic keeps a message that it can't push; fixed, unlike that of a queue.
RETENTION_SECONDS = 86_400
#: The account of the emulator, the owner of all topics and subscriptions.
ACCOUNT_ID = "1234567890"


class NotifyStrategy(StrEnum):
    """When a push that failed is tried again."""

    BACKOFF_RETRY = "BACKOFF_RETRY"  #: 3 times, each after 10 to 20 seconds at random
    EXPONENTIAL_DECAY_RETRY = "EXPONENTIAL_DECAY_RETRY"  #: 176 times in a day


class ContentFormat(StrEnum):
    """What is pushed to an endpoint."""

    XML = "XML"
    JSON = "JSON"
    SIMPLIFIED = "SIMPLIFIED"  #: the published text alone


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicAttributes:
    """What can be set of a topic."""

    maximum_message_size: int = 65_536
    logging_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionAttributes:
    """What can be set of a subscription; after its creation, only the strategy."""

    endpoint: str
    filter_tag: str = ""
    notify_strategy: NotifyStrategy = NotifyStrategy.BACKOFF_RETRY
    notify_content_format: ContentFormat = ContentFormat.XML


@dataclass(slots=True, kw_only=True, eq=False)
class Subscription:
    """Where the publications of one topic are pushed to. Times are seconds since 1970."""

    topic_name: str
    name: str
    attributes: SubscriptionAttributes
    created: int
    modified: int
    features: SubscriptionFeatures = field(default_factory=SubscriptionFeatures)
    ended: bool = False  #: it was deleted: nothing is tried again

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint(self.attributes.endpoint)

    def wants(self, tag: str) -> bool:
        return self.attributes.filter_tag in ("", tag)


@dataclass(slots=True, kw_only=True, eq=False)
class Topic:
    """One topic with its subscriptions by name. Times are seconds since 1970."""

    name: str
    attributes: TopicAttributes
    created: int
    modified: int
    published: int = 0
    features: TopicFeatures = field(default_factory=TopicFeatures)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message that was published to a topic."""

    topic_name: str
    message_id: str
    body: str  #: as published, not escaped
    md5: str
    tag: str = ""
    group: str = ""
    properties: str = ""  #: the XML of system and user properties, as a reply has it
    published_ms: int
    function: str = ""  #: of the job that this is the callback of


Notify = Callable[[Subscription, Publication], None]
"""Bring a publication to the endpoint of a subscription, now or later; raises nothing."""


class Topics:
    """All topics of the account."""

    def __init__(self, rng: Random, *, clock: VirtualClock, notify: Notify) -> None:
        self._clock = clock
        self.by_name: dict[str, Topic] = {}
        self._rng = rng
        self._notify = notify

    def clear(self) -> None:
        """Delete all topics."""
        for name in list(self.by_name):
            self.delete(name)

    def topic(self, name: str) -> Topic:
        """A topic by its name. Raises TopicNotExist."""
        topic = self.by_name.get(name)
        if topic is None:
            raise MnsError("TopicNotExist")
        return topic

    def create(self, name: str, attributes: TopicAttributes | None = None) -> bool:
        """Create a topic; False if it is there already, with the same attributes.

        Raises TopicAlreadyExist if it is there with others, TopicNameInvalid and TopicNameLengthError.
        """
        check_name(name, kind="Topic")
        attributes = attributes or TopicAttributes()
        if known := self.by_name.get(name):
            if known.attributes != attributes:
                raise MnsError("TopicAlreadyExist")
            return False
        at = self._clock.ms() // 1000
        self.by_name[name] = Topic(name=name, attributes=attributes, created=at, modified=at)
        return True

    def change(self, name: str, attributes: TopicAttributes) -> None:
        """Set all attributes of a topic. Raises TopicNotExist."""
        topic = self.topic(name)
        topic.attributes, topic.modified = attributes, self._clock.ms() // 1000

    def delete(self, name: str) -> bool:
        """Delete a topic with its subscriptions; False if there is none."""
        topic = self.by_name.pop(name, None)
        for subscription in topic.subscriptions.values() if topic else ():
            subscription.ended = True
        return topic is not None

    def subscription(self, topic_name: str, name: str) -> Subscription:
        """A subscription by its name. Raises TopicNotExist and SubscriptionNotExist."""
        subscription = self.topic(topic_name).subscriptions.get(name)
        if subscription is None:
            raise MnsError("SubscriptionNotExist")
        return subscription

    def subscribe(self, topic_name: str, name: str, attributes: SubscriptionAttributes) -> bool:
        """Subscribe an endpoint; False if the subscription is there already, with the same attributes.

        Raises TopicNotExist, SubscriptionAlreadyExist if it is there with others, SubscriptionNameInvalid,
        SubscriptionNameLengthError, EndpointInvalid and InvalidArgument.
        """
        topic = self.topic(topic_name)
        check_name(name, kind="Subscription")
        parse_endpoint(attributes.endpoint)
        check_tag(attributes.filter_tag, "FilterTag")
        if known := topic.subscriptions.get(name):
            if known.attributes != attributes:
                raise MnsError("SubscriptionAlreadyExist")
            return False
        at = self._clock.ms() // 1000
        topic.subscriptions[name] = Subscription(
            topic_name=topic_name, name=name, attributes=attributes, created=at, modified=at
        )
        return True

    def set_strategy(self, topic_name: str, name: str, strategy: NotifyStrategy) -> None:
        """Change when failed pushes are tried again. Raises TopicNotExist and SubscriptionNotExist."""
        subscription = self.subscription(topic_name, name)
        subscription.attributes = replace(subscription.attributes, notify_strategy=strategy)
        subscription.modified = self._clock.ms() // 1000

    def unsubscribe(self, topic_name: str, name: str) -> bool:
        """Delete a subscription; False if there is none. Raises TopicNotExist."""
        subscription = self.topic(topic_name).subscriptions.pop(name, None)
        if subscription is None:
            return False
        subscription.ended = True
        return True

    def publish(
        self,
        topic_name: str,
        body: str,
        *,
        tag: str = "",
        group: str = "",
        properties: str = "",
        function: str = "",
    ) -> Publication:
        """Publish a text to all subscriptions that want its tag. Raises TopicNotExist and InvalidArgument."""
        topic = self.topic(topic_name)
        check_size(body, topic.attributes.maximum_message_size)
        check_tag(tag, "MessageTag")
        if topic.features.fifo and not group:
            raise MnsError("FifoMissingMessageGroupId")
        publication = Publication(
            topic_name=topic_name,
            message_id=f"{self._rng.getrandbits(128):032X}",
            body=body,
            md5=body_md5(body),
            tag=tag,
            group=group,
            properties=properties,
            published_ms=self._clock.ms(),
            function=function,
        )
        topic.published += 1
        for subscription in list(topic.subscriptions.values()):
            if subscription.wants(tag):
                self._notify(subscription, publication)
        return publication


def check_name(name: str, *, kind: str) -> None:
    """Raises the errors about the name of a ``Topic`` or a ``Subscription``."""
    if not 1 <= len(name) <= NAME_LENGTH:
        raise MnsError(f"{kind}NameLengthError")
    if not NAME.fullmatch(name):
        raise MnsError(f"{kind}NameInvalid")


def check_tag(tag: str, element: str) -> None:
    if len(tag) > TAG_LENGTH:
        raise MnsError("InvalidArgument", f"The length of {element} should between 1 and {TAG_LENGTH}.")


def check_size(body: str, limit: int) -> None:
    if not 1 <= len(body.encode("utf-8", "surrogateescape")) <= limit:
        raise MnsError("InvalidArgument", range_text("MessageBody", 1, limit, "bytes"))
