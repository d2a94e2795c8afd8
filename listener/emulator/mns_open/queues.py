"""The calls for queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from listener.emulator.mns.arguments import LIMITS, check_queue_name, parameter_in_range
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.features import QueueFeatures
from listener.emulator.mns.queue import Attributes, EmulatedQueue
from listener.emulator.mns.service import Mns
from listener.emulator.mns_open import parameters
from listener.emulator.mns_open.replies import done, encryption_fields, rate_limit_fields, tag_fields
from listener.emulator.rpc.call import Call, Document, Operation

NORMAL, FIFO = TYPES = ("normal", "fifo")


class QueueCalls:
    """What can be done with the queues of the account."""

    def __init__(self, mns: Mns) -> None:
        self._mns = mns
        self.operations: Mapping[str, Operation] = {
            "CreateQueue": self._create,
            "SetQueueAttributes": self._set,
            "GetQueueAttributes": self._get,
            "ListQueue": self._list,
            "DeleteQueue": self._delete,
        }

    def _create(self, call: Call) -> Document:
        """Create a queue. If there is one with the same attributes, nothing is done."""
        name = call.required("QueueName")
        check_queue_name(name)
        fifo = parameters.word(call, "QueueType", TYPES, default=NORMAL) == FIFO
        attributes = _attributes(call, Attributes())
        features = self._features(call, name, QueueFeatures(fifo=fifo, tags=parameters.tags(call)))
        queue = self._mns.queues.get(name)
        if queue is None:
            self._mns.create(name, attributes, features=features)
        elif (queue.attributes, queue.features) != (attributes, features):
            raise MnsError("QueueAlreadyExist")
        return {"Data": done()}

    def _set(self, call: Call) -> Document:
        """Change what the call names, and leave the rest; the type of a queue and its tags can't be changed."""
        queue = self._mns.queue(call.required("QueueName"))
        attributes = _attributes(call, queue.attributes)
        features = self._features(call, queue.name, queue.features)
        queue.change(attributes)
        queue.set_features(features)
        return {"Data": done()}

    def _get(self, call: Call) -> Document:
        queue = self._mns.queue(call.required("QueueName"))
        limit = rate_limit_fields(queue.features.rate_limit)
        return {"Data": _describe(queue) | {"TenantRateLimitPolicy": limit}}

    def _list(self, call: Call) -> Document:
        """Queues whose names contain a text, of one type and with some tags, by name."""
        text, tags = call.parameters.get("QueueName", ""), parameters.tags(call)
        wanted = parameters.word(call, "QueueType", (*TYPES, ""), default="")
        found = [
            queue
            for name, queue in sorted(self._mns.queues.items())
            if text in name
            and wanted in ("", _type(queue))
            and parameters.has_tags(queue.features.tags, tags)
        ]
        return {"Data": parameters.page(call, found, _describe)}

    def _delete(self, call: Call) -> Document:
        """Deleting what is not there counts as done, as over the other protocol."""
        self._mns.delete(call.required("QueueName"))
        return {"Data": done()}

    def _features(self, call: Call, name: str, known: QueueFeatures) -> QueueFeatures:
        policy = parameters.dead_letter_policy(call, known=known.dead_letter)
        if policy is not None and policy.enabled:
            self._check_target(policy.target, name)
        return replace(
            known,
            dead_letter=policy,
            rate_limit=parameters.rate_limit(call, known=known.rate_limit),
            encryption=parameters.encryption(call, known=known.encryption),
        )

    def _check_target(self, target: str, name: str) -> None:
        if target == name:
            raise MnsError("InvalidArgument", "A queue cannot be its own dead-letter queue.")
        self._mns.queue(target)


def _attributes(call: Call, known: Attributes) -> Attributes:
    changes = {
        attribute: parameter_in_range(call.parameters[name], name, low, high, unit)
        for name, attribute, low, high, unit in LIMITS
        if call.parameters.get(name)
    }
    logging = parameters.truth(call, "EnableLogging", default=known.logging_enabled)
    return Attributes(**{**asdict(known), **changes, "logging_enabled": logging})


def _type(queue: EmulatedQueue) -> str:
    return FIFO if queue.features.fifo else NORMAL


def _describe(queue: EmulatedQueue) -> Document:
    counts, policy = queue.counts(), queue.features.dead_letter
    return {
        "QueueName": queue.name,
        "QueueType": _type(queue),
        "CreateTime": queue.created,
        "LastModifyTime": queue.modified,
        **{name: getattr(queue.attributes, attribute) for name, attribute, *_ in LIMITS},
        "LoggingEnabled": queue.attributes.logging_enabled,
        "ActiveMessages": counts["active"],
        "InactiveMessages": counts["inactive"],
        "DelayMessages": counts["delayed"],
        **encryption_fields(queue.features.encryption),
        "Tags": tag_fields(queue.features.tags),
        "DlqPolicy": {"Enabled": False}
        if policy is None
        else {
            "Enabled": policy.enabled,
            "DeadLetterTargetQueue": policy.target,
            "MaxReceiveCount": str(policy.max_receive_count),
        },
    }
