"""Members of callbacks, by lower-case names: one callback may spell a name in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from listener.core.errors import Undecodable
from listener.formats import lenient_json
from listener.formats.json_members import as_text

#: Ids, types and states are indexed columns; an id has 32 characters.
MAX_LABEL: Final = 256
#: What nearly all callbacks have: folded beforehand, so that all members of one take 0.6 times as long.
_USUAL: Final = {
    name: name.lower()
    for name in [
        "Code",
        "Details",
        "FunctionName",
        "JobId",
        "Message",
        "RequestId",
        "State",
        "Type",
        "UserData",
    ]
}


def folded(value: Any) -> dict[str, Any]:
    """Members by lower-cased name, without nulls; of two spellings, PascalCase takes precedence.

    Real callbacks contain both ``jobId`` and ``JobId``. What is not an object has no members.
    """
    if not isinstance(value, dict):
        return {}
    pascal_case: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, member in value.items():
        if member is None:
            continue
        if usual := _USUAL.get(name):
            pascal_case[usual] = member
        else:
            spelled = name.strip()
            (pascal_case if spelled[:1].isupper() else others)[spelled.lower()] = member
    return others | pascal_case if others else pascal_case


def folded_deeply(value: Any) -> Any:
    """A JSON value whose members, at every level, have lower-case names."""
    if isinstance(value, list):
        return [folded_deeply(each) for each in value]
    if isinstance(value, dict):
        return {name: folded_deeply(member) for name, member in folded(value).items()}
    return value


def folded_object(value: Any) -> dict[str, Any]:
    """The members of an object, which may also be given as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = lenient_json.parse(value)
        except lenient_json.BadJson:
            return {}
    return folded(value)


def label(members: Mapping[str, Any], *names: str) -> str:
    """The first of these members that is not empty, without blanks around it. Raises Undecodable if it is too long."""
    for name in names:
        found = members.get(name.lower())
        if found is None:  # as most members of most callbacks
            continue
        value = found.strip() if isinstance(found, str) else as_text(found)
        if len(value) > MAX_LABEL:
            raise Undecodable(f"{name} has {len(value)} characters; at most {MAX_LABEL} are allowed")
        if value:
            return value
    return ""
