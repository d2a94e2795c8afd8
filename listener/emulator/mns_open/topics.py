"""The calls for topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from listener.emulator.mns.arguments import parameter_in_range
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.features import TopicFeatures
from listener.emulator.mns.topics import RETENTION_SECONDS, Topic, TopicAttributes, Topics
from listener.emulator.mns_open import parameters
from listener.emulator.mns_open.queues import FIFO, NORMAL, TYPES
from listener.emulator.mns_open.replies import done, encryption_fields, tag_fields
from listener.emulator.rpc.call import Call, Document, Operation


class TopicCalls:
    """What can be done with the topics of the account."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.operations: Mapping[str, Operation] = {
            "CreateTopic": self._create,
            "SetTopicAttributes": self._set,
            "GetTopicAttributes": self._get,
            "ListTopic": self._list,
            "DeleteTopic": self._delete,
        }

    def _create(self, call: Call) -> Document:
        """Create a topic. If there is one with the same attributes, nothing is done."""
        name = call.required("TopicName")
        fifo = parameters.word(call, "TopicType", TYPES, default=NORMAL) == FIFO
        known = TopicFeatures(fifo=fifo, tags=parameters.tags(call))
        features = replace(known, encryption=parameters.encryption(call, known=known.encryption))
        if self._topics.create(name, _attributes(call, TopicAttributes())):
            self._topics.topic(name).features = features
        elif self._topics.topic(name).features != features:
            raise MnsError("TopicAlreadyExist")
        return {"Data": done()}

    def _set(self, call: Call) -> Document:
        topic = self._topics.topic(call.required("TopicName"))
        encryption = parameters.encryption(call, known=topic.features.encryption)
        self._topics.change(topic.name, _attributes(call, topic.attributes))
        topic.features = replace(topic.features, encryption=encryption)
        return {"Data": done()}

    def _get(self, call: Call) -> Document:
        return {"Data": _describe(self._topics.topic(call.required("TopicName")), host=call.host)}

    def _list(self, call: Call) -> Document:
        """Topics whose names contain a text, of one type and with some tags, by name."""
        text, tags = call.parameters.get("TopicName", ""), parameters.tags(call)
        wanted = parameters.word(call, "TopicType", (*TYPES, ""), default="")
        found = [
            topic
            for name, topic in sorted(self._topics.by_name.items())
            if text in name
            and wanted in ("", _type(topic))
            and parameters.has_tags(topic.features.tags, tags)
        ]
        return {"Data": parameters.page(call, found, lambda topic: _describe(topic, host=call.host))}

    def _delete(self, call: Call) -> Document:
        """Deleting what is not there counts as done, as over the other protocol."""
        self._topics.delete(call.required("TopicName"))
        return {"Data": done()}


def _attributes(call: Call, known: TopicAttributes) -> TopicAttributes:
    text = call.parameters.get("MaxMessageSize") or str(known.maximum_message_size)
    return TopicAttributes(
        maximum_message_size=parameter_in_range(text, "MaxMessageSize", 1024, 65_536, "bytes"),
        logging_enabled=parameters.truth(call, "EnableLogging", default=known.logging_enabled),
    )


def _type(topic: Topic) -> str:
    return FIFO if topic.features.fifo else NORMAL


def _describe(topic: Topic, *, host: str) -> Document:
    url = f"http://{host}/topics/{topic.name}"
    return {
        "TopicName": topic.name,
        "TopicType": _type(topic),
        "CreateTime": topic.created,
        "LastModifyTime": topic.modified,
        "MaxMessageSize": topic.attributes.maximum_message_size,
        "MessageRetentionPeriod": RETENTION_SECONDS,
        "MessageCount": 0,
        "LoggingEnabled": topic.attributes.logging_enabled,
        **encryption_fields(topic.features.encryption),
        "Tags": tag_fields(topic.features.tags),
        "TopicUrl": url,
        "TopicInnerUrl": url,
    }
