"""User data: the one text that travels with a job to MPS and comes back in its callback.

It carries two things at once: what the submitter gave, and our own mark (the token), by which a callback
finds its job even if the job id was never saved. ``embed_token`` puts the mark on, ``extract_token`` takes it off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from listener.formats import lenient_json

#: The member that holds the token in JSON user data.
MEMBER: Final = "mnsl"
#: What a seal adds at most: a comma, the member's name, a colon, and the token in quotes.
LONGEST_SEAL: Final = 35

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_JSON_BLANK: Final = " \t\r\n"
_SUFFIX: Final = re.compile(rf"#{MEMBER}=({_TOKEN.pattern})\Z")
_LAST_MEMBER: Final = re.compile(rf',?"{MEMBER}":"({_TOKEN.pattern})"(?=\}}[{_JSON_BLANK}]*\Z)')


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """What the submitter's text says to us."""

    text: str = ""  #: as given; empty for none
    route: str = ""  #: the JSON member ``route``, or what stands before the first colon of other text
    fields: Mapping[str, Any] = field(default_factory=dict)  #: the members, where the text is a JSON object


def embed_token(user_data: str | None, token: str) -> str:
    """The text to send: the submitter's with our token in it, at most 35 characters longer.

    A JSON object stays one, with ``"mnsl"`` as its last member; other text gets the suffix ``#mnsl=TOKEN``.
    A token is 22 characters of ``A-Z a-z 0-9 _ -``.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"not a token: {token!r}")
    text = user_data or ""
    members = _members(text)
    if members is None:
        return f"{text}#{MEMBER}={token}"
    end = text.rindex("}")
    return f'{text[:end]}{"," if members else ""}"{MEMBER}":"{token}"{text[end:]}'


def extract_token(wire: str | None) -> tuple[str | None, str]:
    """Take the token off: (what the submitter gave, token). Without a seal: (the text as it is, "").

    None, ``""`` and the text ``null`` on the wire all mean that there is no user data (facts: mps 2.2).
    """
    if wire is None or wire in {"", "null"}:
        return None, ""
    match = _SUFFIX.search(wire) or _LAST_MEMBER.search(wire)
    if match is None:
        return wire, ""
    text, token = wire[: match.start()] + wire[match.end() :], match[1]
    # Only what seal() makes is a seal; user data may well look like one.
    return (text or None, token) if embed_token(text, token) == wire else (wire, "")


def parse(user_data: str | None) -> UserData:
    """What the submitter's text (its seal already off) says: a route, and fields where it is a JSON object.

    Never raises: text that is no JSON is text. Text that only looks like JSON names no route.
    """
    text = "" if user_data is None or user_data == "null" else user_data
    members = _members(text)
    if members is not None:
        route = members.get("route")
        return UserData(text=text, route=route if isinstance(route, str) else "", fields=members)
    if text.lstrip()[:1] in ("{", "[", '"'):
        return UserData(text=text)
    head, colon, _ = text.partition(":")
    return UserData(text=text, route=head.strip() if colon else "")


def _members(text: str) -> dict[str, Any] | None:
    if not text.lstrip(_JSON_BLANK).startswith("{"):
        return None
    try:
        value: dict[str, Any] = lenient_json.parse(text)
    except lenient_json.BadJson:
        return None
    return value
