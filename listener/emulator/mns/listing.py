"""Lists by name in pages, as queues, topics and subscriptions have them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from listener.emulator.messages import Request
from listener.emulator.mns.arguments import parameter_in_range
from listener.emulator.mns.errors import MnsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    names: list[str]
    with_meta: bool  #: whether the attributes of each are asked for
    tail: list[tuple[str, object]]  #: the NextMarker, if there are more


def page_of(names: Iterable[str], request: Request) -> Page:
    """The names that a request asks for, in order. Raises MnsError InvalidArgument."""
    limit = parameter_in_range(
        request.headers.get("x-mns-ret-number", "1000"), "x-mns-ret-number", 1, 1000, ""
    )
    marker = _decode_marker(request.headers.get("x-mns-marker", ""))
    prefix = request.headers.get("x-mns-prefix", "")
    left = sorted(name for name in names if name.startswith(prefix) and name > marker)
    return Page(
        names=left[:limit],
        with_meta=request.headers.get("x-mns-with-meta", "").lower() == "true",
        tail=[("NextMarker", _encode_marker(left[limit - 1]))] if len(left) > limit else [],
    )


def _encode_marker(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _decode_marker(marker: str) -> str:
    try:
        return base64.b64decode(marker, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MnsError("InvalidArgument", "The marker you provided is not valid.") from error
