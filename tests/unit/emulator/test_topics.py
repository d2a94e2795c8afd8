"""Topics and subscriptions as objects, without a protocol."""

from __future__ import annotations

from random import Random

import pytest

from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.topics import (
    ContentFormat,
    NotifyStrategy,
    Publication,
    Subscription,
    SubscriptionAttributes,
    TopicAttributes,
    Topics,
)
from listener.emulator.virtual_clock import VirtualClock
from tests.support.cases import each_case

QUEUE = "acs:mns:cn-shanghai:1234567890:queues/q"


class Noted:
    """Topics with what they have notified, as pairs of a subscription's name and a body."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str]] = []
        self.topics = Topics(Random(1), clock=VirtualClock(), notify=self._note)

    def _note(self, subscription: Subscription, publication: Publication) -> None:
        self.pushed.append((subscription.name, publication.body))


@pytest.fixture
def noted() -> Noted:
    noted = Noted()
    noted.topics.create("t")
    return noted


def to_queue(**attributes: object) -> SubscriptionAttributes:
    return SubscriptionAttributes(**{"endpoint": QUEUE, **attributes})  # type: ignore[arg-type]  # any attributes


def test_topic_can_be_created_again_only_as_it_is(noted: Noted) -> None:
    topics = noted.topics

    assert not topics.create("t")
    with pytest.raises(MnsError, match="TopicAlreadyExist") as taken:
        topics.create("t", TopicAttributes(logging_enabled=True))
    assert taken.value.status == 409
    assert topics.delete("t")
    assert not topics.delete("t")
    with pytest.raises(MnsError, match="TopicNotExist"):
        topics.publish("t", "text")


def test_subscription_can_be_created_again_only_as_it_is(noted: Noted) -> None:
    topics = noted.topics

    assert topics.subscribe("t", "s", to_queue())
    assert not topics.subscribe("t", "s", to_queue())
    with pytest.raises(MnsError, match="SubscriptionAlreadyExist") as taken:
        topics.subscribe("t", "s", to_queue(notify_content_format=ContentFormat.JSON))
    assert taken.value.status == 409
    topics.set_strategy("t", "s", NotifyStrategy.EXPONENTIAL_DECAY_RETRY)
    assert topics.subscription("t", "s").attributes == to_queue(
        notify_strategy=NotifyStrategy.EXPONENTIAL_DECAY_RETRY
    )
    assert topics.unsubscribe("t", "s")
    with pytest.raises(MnsError, match="SubscriptionNotExist"):
        topics.subscription("t", "s")


def test_subscription_with_a_filter_tag_gets_only_what_has_this_tag(noted: Noted) -> None:
    noted.topics.subscribe("t", "all", to_queue())
    noted.topics.subscribe("t", "covers", to_queue(filter_tag="cover"))

    for body, tag in (("a", ""), ("b", "cover"), ("c", "covers")):
        noted.topics.publish("t", body, tag=tag)

    assert noted.pushed == [("all", "a"), ("all", "b"), ("covers", "b"), ("all", "c")]
    assert noted.topics.topic("t").published == 3


@each_case(
    ("endpoint", "accepted"),
    [
        (QUEUE, True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost/hook?a=1", True),
        ("http://[::1]:8080/hook", True),
        ("http://192.0.2.1/hook", False),
        ("http://example.com/hook", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://name:password@127.0.0.1/", False),
        ("http://[::1/", False),
        ("http://127.0.0.1:port/", False),
        ("http://127.0.0.1/a b", False),
        ("https://127.0.0.1/", False),
        ("mail:directmail:a@example.com", False),
        ("acs:mns:cn-shanghai:1234567890:topics/t", False),
        ("", False),
    ],
)
def test_endpoint_is_a_queue_or_http_on_this_machine(noted: Noted, endpoint: str, accepted: bool) -> None:
    if accepted:
        assert noted.topics.subscribe("t", "s", to_queue(endpoint=endpoint))
        noted.topics.unsubscribe("t", "s")  # for the next case
        return
    with pytest.raises(MnsError, match="EndpointInvalid") as refused:
        noted.topics.subscribe("t", "s", to_queue(endpoint=endpoint))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("name", "error"), [("x" * 256, "NameLengthError"), ("", "NameLengthError"), ("-a", "NameInvalid")]
)
def test_names_are_checked(noted: Noted, name: str, error: str) -> None:
    with pytest.raises(MnsError, match=f"Topic{error}"):
        noted.topics.create(name)
    with pytest.raises(MnsError, match=f"Subscription{error}"):
        noted.topics.subscribe("t", name, to_queue())


def test_size_and_tag_of_a_publication_have_limits(noted: Noted) -> None:
    noted.topics.change("t", TopicAttributes(maximum_message_size=1024))

    noted.topics.publish("t", "é" * 512, tag="x" * 16)
    for body, tag in (("é" * 513, ""), ("", ""), ("a", "x" * 17)):
        with pytest.raises(MnsError, match="InvalidArgument"):
            noted.topics.publish("t", body, tag=tag)
    with pytest.raises(MnsError, match="InvalidArgument"):
        noted.topics.subscribe("t", "s", to_queue(filter_tag="x" * 17))
