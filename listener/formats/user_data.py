"""User data: the text that is sent to MPS with a job and comes back in its callback.

It carries the text of the submitter and our own token, which matches a callback to its job even if the job id was
never saved. ``embed_token`` adds the token, ``extract_token`` removes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from listener.formats import lenient_json

#: The member that holds the token in JSON user data.
MEMBER: Final = "mnsl"
#: The most characters that embedding adds: a comma, the member name, a colon, and the token in quotes.
MAX_TOKEN_OVERHEAD: Final = 35

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_JSON_BLANK: Final = " \t\r\n"
_SUFFIX: Final = re.compile(rf"#{MEMBER}=({_TOKEN.pattern})\Z")
_LAST_MEMBER: Final = re.compile(rf',?"{MEMBER}":"({_TOKEN.pattern})"(?=\}}[{_JSON_BLANK}]*\Z)')


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """The parsed text of the submitter."""

    text: str = ""  #: as given; empty if there is none
    route: str = ""  #: the JSON member ``route``, or the part before the first colon of other text
    fields: Mapping[str, Any] = field(default_factory=dict)  #: the members, if the text is a JSON object


def embed_token(user_data: str | None, token: str) -> str:
    """The text to send: that of the submitter with our token, at most 35 characters longer.

    A JSON object stays a JSON object, with ``"mnsl"`` as its last member; other text gets the suffix ``#mnsl=TOKEN``.
    A token is 22 characters of ``A-Z a-z 0-9 _ -``.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is not a valid token; expected 22 characters of A-Z a-z 0-9 _ -")
    text = user_data or ""
    members = _members(text)
    if members is None:
        return f"{text}#{MEMBER}={token}"
    end = text.rindex("}")
    return f'{text[:end]}{"," if members else ""}"{MEMBER}":"{token}"{text[end:]}'


def extract_token(wire: str | None) -> tuple[str | None, str]:
    """Split into (text of the submitter, token). Without a token: (the unchanged text, "").

    None, ``""`` and the text ``null`` on the wire all mean that there is no user data.
    """
    if wire is None or wire in {"", "null"}:
        return None, ""
    match = _SUFFIX.search(wire) or _LAST_MEMBER.search(wire)
    if match is None:
        return wire, ""
    text, token = wire[: match.start()] + wire[match.end() :], match[1]
    # Only text that embed_token() produces counts; user data may happen to look like it.
    return (text or None, token) if embed_token(text, token) == wire else (wire, "")


def parse(user_data: str | None) -> UserData:
    """Parse the text of the submitter, without the token: a route, and fields if it is a JSON object.

    Never raises: anything that is not JSON is text. Text that merely looks like JSON has no route.
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


def fields(user_data: str | None) -> dict[str, Any]:
    """The members of such a text, if it is a JSON object: what ``parse`` finds in it, without the rest."""
    return (_members(user_data) if user_data else None) or {}


def _members(text: str) -> dict[str, Any] | None:
    if not text.lstrip(_JSON_BLANK).startswith("{"):
        return None
    try:
        value: dict[str, Any] = lenient_json.parse(text)
    except lenient_json.BadJson:
        return None
    return value
