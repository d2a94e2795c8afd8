"""The objects of an emulator as JSON, and back.

What is listed here is written with all its fields. Objects that others point to (jobs, pipelines, kinds, subscriptions)
are written as references, and found again by whoever reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Any

from listener.emulator.faults import Fault, FaultKind
from listener.emulator.faulty_delivery import PendingDelivery
from listener.emulator.mns.features import (
    DeadLetterPolicy,
    Encryption,
    QueueFeatures,
    RateLimit,
    SubscriptionFeatures,
    TopicFeatures,
)
from listener.emulator.mns.notifier import PendingPush
from listener.emulator.mns.queue import Attributes
from listener.emulator.mns.topics import (
    ContentFormat,
    NotifyStrategy,
    Publication,
    Subscription,
    SubscriptionAttributes,
    TopicAttributes,
)
from listener.emulator.mns_open.event_rules import EventRule
from listener.emulator.mps.callback_sender import Destination
from listener.emulator.mps.jobs import EmulatedJob, EmulatedKind, Part, Pipeline, Submission
from listener.emulator.mps.workflows import MediaWorkflow
from listener.emulator.virtual_clock import ClockSetting

VALUES = {
    value.__name__: value
    for value in (
        *(Attributes, QueueFeatures, DeadLetterPolicy, RateLimit, Encryption, TopicFeatures),
        *(SubscriptionFeatures, TopicAttributes, SubscriptionAttributes, Publication, EventRule),
        *(Destination, Submission, Part, MediaWorkflow, Fault, ClockSetting, PendingDelivery, PendingPush),
    )
}
ENUMS = {enum.__name__: enum for enum in (NotifyStrategy, ContentFormat, FaultKind)}

Find = Callable[[str, str], Any]
"""Find an object by the name of its class and its key."""


def dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII only: texts may have lone surrogates


def fields_of(item: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """All fields of a dataclass, encoded."""
    return {
        field.name: encoded(getattr(item, field.name)) for field in fields(item) if field.name not in without
    }


def encoded(value: Any) -> Any:
    """A value as plain JSON. Raises TypeError for what cannot be saved."""
    if isinstance(value, StrEnum):
        return {"$enum": [type(value).__name__, str(value)]}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, tuple):
        return {"$tuple": [encoded(each) for each in value]}
    if isinstance(value, list):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {"$dict": [[encoded(key), encoded(each)] for key, each in value.items()]}
    if (reference := _reference(value)) is not None:
        return {"$ref": [type(value).__name__, reference]}
    if type(value).__name__ in VALUES:
        return {"$value": [type(value).__name__, fields_of(value)]}
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _reference(value: object) -> str | None:
    if isinstance(value, EmulatedJob | Pipeline):
        return value.id
    if isinstance(value, EmulatedKind):
        return value.api.name
    if isinstance(value, Subscription):
        return f"{value.topic_name}/{value.name}"
    return None


def decoded(value: Any, find: Find) -> Any:
    """The inverse of ``encoded``."""
    if isinstance(value, list):
        return [decoded(each, find) for each in value]
    if not isinstance(value, dict):
        return value
    ((mark, inner),) = value.items()
    match mark:
        case "$enum":
            return ENUMS[inner[0]](inner[1])
        case "$bytes":
            return bytes.fromhex(inner)
        case "$tuple":
            return tuple(decoded(inner, find))
        case "$dict":
            return {decoded(key, find): decoded(each, find) for key, each in inner}
        case "$ref":
            return find(*inner)
    return VALUES[inner[0]](**decoded_fields(inner[1], find))


def decoded_fields(saved: dict[str, Any], find: Find) -> dict[str, Any]:
    return {name: decoded(value, find) for name, value in saved.items()}
