"""What calls of the OpenAPI carry, checked: truth values, words, tags, policies, and the page of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from listener.emulator.mns.errors import MnsError, range_text
from listener.emulator.mns.features import DeadLetterPolicy, Encryption, RateLimit
from listener.emulator.mns_open.errors import MnsOpenError
from listener.emulator.rpc.call import Call, Document

PAGE_SIZES = (10, 50)
LAST_PAGE = 100_000_000
MAX_RECEIVES = 1000  #: of a dead-letter policy
MAX_TAGS = 20

Item = TypeVar("Item")


def truth(call: Call, name: str, *, default: bool) -> bool:
    text = call.parameters.get(name)
    return default if text is None else _truth(text, name)


def _truth(value: object, name: str) -> bool:
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise MnsOpenError("InvalidParameter.NotSupported", name)
    return text == "true"


def word(call: Call, name: str, words: Iterable[str], *, default: str) -> str:
    """One of some words."""
    text = call.parameters.get(name) or default
    if text not in set(words):
        raise MnsOpenError("InvalidParameter.NotSupported", name)
    return text


def policy(call: Call, name: str) -> Document | None:
    """A policy as a JSON object, as the official clients send it; None if the call has none."""
    return call.json_object(name) if call.parameters.get(name) else None


def dead_letter_policy(call: Call, *, known: DeadLetterPolicy | None) -> DeadLetterPolicy | None:
    """The policy that a call sets. One that is switched on needs a target and a number of receives."""
    given = policy(call, "DlqPolicy")
    if given is None:
        return known
    if not _truth(given.get("Enabled", True), "DlqPolicy.Enabled"):
        return DeadLetterPolicy(
            enabled=False, target=str(given.get("DeadLetterTargetQueue", "")), max_receive_count=0
        )
    return DeadLetterPolicy(
        enabled=True,
        target=_text(given, "DeadLetterTargetQueue", "DlqPolicy"),
        max_receive_count=_number(given, "MaxReceiveCount", "DlqPolicy", high=MAX_RECEIVES),
    )


def dead_letter_queue(call: Call, *, known: str) -> str:
    """The queue for what a subscription could not push; "" if there is none."""
    given = policy(call, "DlqPolicy")
    if given is None:
        return known
    enabled = _truth(given.get("Enabled", True), "DlqPolicy.Enabled")
    return _text(given, "DeadLetterTargetQueue", "DlqPolicy") if enabled else ""


def rate_limit(call: Call, *, known: RateLimit | None) -> RateLimit | None:
    given = policy(call, "TenantRateLimitPolicy")
    if given is None:
        return known
    enabled = _truth(given.get("Enabled", True), "TenantRateLimitPolicy.Enabled")
    if not enabled and "MaxReceivesPerSecond" not in given:
        return RateLimit(enabled=False, max_receives_per_second=0)
    number = _number(given, "MaxReceivesPerSecond", "TenantRateLimitPolicy", high=10**9)
    return RateLimit(enabled=enabled, max_receives_per_second=number)


def encryption(call: Call, *, known: Encryption) -> Encryption:
    return Encryption(
        enabled=truth(call, "EnableSSE", default=known.enabled),
        algorithm=call.parameters.get("SseAlgorithm", known.algorithm),
        type=call.parameters.get("SseType", known.type),
        kms_key_id=call.parameters.get("KmsKeyId", known.kms_key_id),
    )


def tags(call: Call) -> tuple[tuple[str, str], ...]:
    """``Tag.1.Key`` with ``Tag.1.Value``, and so on."""
    numbered = (
        (call.parameters.get(f"Tag.{number}.Key", ""), call.parameters.get(f"Tag.{number}.Value", ""))
        for number in range(1, MAX_TAGS + 1)
    )
    return tuple((key, value) for key, value in numbered if key)


def has_tags(own: tuple[tuple[str, str], ...], wanted: tuple[tuple[str, str], ...]) -> bool:
    """Whether something has all the tags that a call asks for; one without a value stands for any value."""
    return all((key, value) in own or (not value and key in dict(own)) for key, value in wanted)


def page(call: Call, found: list[Item], describe: Callable[[Item], Document]) -> Document:
    """The page of a list that a call asks for. A number out of range counts as the nearest one in range."""
    size = _nearest(call, "PageSize", *PAGE_SIZES)
    number = _nearest(call, "PageNum", 1, LAST_PAGE)
    return {
        "PageNum": number,
        "PageSize": size,
        "Pages": -(-len(found) // size),
        "Size": len(found[(number - 1) * size : number * size]),
        "Total": len(found),
        "PageData": [describe(item) for item in found[(number - 1) * size : number * size]],
    }


def _nearest(call: Call, name: str, low: int, high: int) -> int:
    text = call.parameters.get(name) or str(low)
    if not text.removeprefix("-").isdecimal() or not text.isascii():
        raise MnsOpenError("InvalidParameter.NumberFormatInvalid", name)
    return min(max(int(text[:20]), low), high)


def _text(given: Document, name: str, where: str) -> str:
    if not isinstance(given.get(name), str) or not given[name]:
        raise MnsOpenError("MissingParameter", f"{where}.{name}")
    return str(given[name])


def _number(given: Document, name: str, where: str, *, high: int) -> int:
    value: Any = given.get(name)
    if value is None:
        raise MnsOpenError("MissingParameter", f"{where}.{name}")
    if not str(value).isdecimal() or not 1 <= int(str(value)[:20]) <= high:
        raise MnsError("InvalidArgument", range_text(name, 1, high, ""))
    return int(str(value))
