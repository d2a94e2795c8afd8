"""The calls for subscriptions."""

from __future__ import annotations

from collections.abc import Mapping

from listener.emulator.mns.endpoints import QueueEndpoint, parse_endpoint
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.features import SubscriptionFeatures
from listener.emulator.mns.service import Mns
from listener.emulator.mns.topics import (
    ACCOUNT_ID,
    ContentFormat,
    NotifyStrategy,
    Subscription,
    SubscriptionAttributes,
)
from listener.emulator.mns_open import parameters
from listener.emulator.mns_open.replies import done, rate_limit_fields
from listener.emulator.rpc.call import Call, Document, Operation

HTTP, QUEUE = "http", "queue"
#: What the service pushes to, besides queues and HTTP servers; the emulator has none of it.
OTHER_PUSH_TYPES = ("dm", "dysms", "fc", "eventbus", "mpush", "alisms", "email", "kafka")


class SubscriptionCalls:
    """What can be done with the subscriptions of the account's topics."""

    def __init__(self, mns: Mns) -> None:
        self._mns = mns
        self._topics = mns.topics
        self.operations: Mapping[str, Operation] = {
            "Subscribe": self._subscribe,
            "SetSubscriptionAttributes": self._set,
            "GetSubscriptionAttributes": self._get,
            "ListSubscriptionByTopic": self._list,
            "Unsubscribe": self._unsubscribe,
        }

    def _subscribe(self, call: Call) -> Document:
        """Subscribe an endpoint. If there is the same subscription, nothing is done."""
        topic, name = call.required("TopicName"), call.required("SubscriptionName")
        push_type = parameters.word(call, "PushType", (HTTP, QUEUE, *OTHER_PUSH_TYPES), default=HTTP)
        call.required("PushType")
        attributes = SubscriptionAttributes(
            endpoint=call.required("Endpoint"),
            filter_tag=call.parameters.get("MessageTag", ""),
            notify_strategy=_strategy(call, NotifyStrategy.BACKOFF_RETRY),
            notify_content_format=ContentFormat(
                parameters.word(call, "NotifyContentFormat", ContentFormat, default=ContentFormat.XML)
            ),
        )
        if push_type != _push_type(attributes):
            raise MnsError("EndpointInvalid")
        features = self._features(call, attributes.endpoint, SubscriptionFeatures())
        if self._topics.subscribe(topic, name, attributes):
            self._topics.subscription(topic, name).features = features
        elif self._topics.subscription(topic, name).features != features:
            raise MnsError("SubscriptionAlreadyExist")
        return {"Data": f"http://{call.host}/topics/{topic}/subscriptions/{name}"}

    def _set(self, call: Call) -> Document:
        subscription = self._subscription_of(call)
        strategy = _strategy(call, subscription.attributes.notify_strategy)
        features = self._features(call, subscription.attributes.endpoint, subscription.features)
        self._topics.set_strategy(subscription.topic_name, subscription.name, strategy)
        subscription.features = features
        return {"Data": done()}

    def _get(self, call: Call) -> Document:
        subscription = self._subscription_of(call)
        limit = rate_limit_fields(subscription.features.rate_limit)
        return {"Data": _describe(subscription) | {"TenantRateLimitPolicy": limit}}

    def _list(self, call: Call) -> Document:
        """The subscriptions of a topic, by name: whose names contain a text, or to one endpoint."""
        topic = self._topics.topic(call.required("TopicName"))
        text, endpoint = call.parameters.get("SubscriptionName", ""), call.parameters.get("EndpointValue", "")
        push_type = call.parameters.get("EndpointType", "")
        found = [
            subscription
            for name, subscription in sorted(topic.subscriptions.items())
            if text in name
            and endpoint in ("", subscription.attributes.endpoint)
            and push_type in ("", _push_type(subscription.attributes))
        ]
        return {"Data": parameters.page(call, found, _describe)}

    def _unsubscribe(self, call: Call) -> Document:
        """Deleting what is not there counts as done, as over the other protocol."""
        self._topics.unsubscribe(call.required("TopicName"), call.required("SubscriptionName"))
        return {"Data": done()}

    def _features(self, call: Call, endpoint: str, known: SubscriptionFeatures) -> SubscriptionFeatures:
        target = parameters.dead_letter_queue(call, known=known.dead_letter_queue)
        if target != known.dead_letter_queue and target:
            self._mns.queue(target)
        if target and parse_endpoint(endpoint) == QueueEndpoint(target):
            raise MnsError("InvalidArgument", "The queue of a subscription cannot be its dead-letter queue.")
        return SubscriptionFeatures(
            dead_letter_queue=target, rate_limit=parameters.rate_limit(call, known=known.rate_limit)
        )

    def _subscription_of(self, call: Call) -> Subscription:
        return self._topics.subscription(call.required("TopicName"), call.required("SubscriptionName"))


def _strategy(call: Call, known: NotifyStrategy) -> NotifyStrategy:
    return NotifyStrategy(parameters.word(call, "NotifyStrategy", NotifyStrategy, default=known))


def _push_type(attributes: SubscriptionAttributes) -> str:
    return QUEUE if isinstance(parse_endpoint(attributes.endpoint), QueueEndpoint) else HTTP


def _describe(subscription: Subscription) -> Document:
    attributes, target = subscription.attributes, subscription.features.dead_letter_queue
    return {
        "SubscriptionName": subscription.name,
        "TopicName": subscription.topic_name,
        "TopicOwner": ACCOUNT_ID,
        "Endpoint": attributes.endpoint,
        "FilterTag": attributes.filter_tag,
        "NotifyStrategy": attributes.notify_strategy,
        "NotifyContentFormat": attributes.notify_content_format,
        "CreateTime": subscription.created,
        "LastModifyTime": subscription.modified,
        "DlqPolicy": {"Enabled": True, "DeadLetterTargetQueue": target} if target else {"Enabled": False},
    }
