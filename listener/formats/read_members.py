"""Which members of a callback its result comes from: found by decoding it with other values in their places.

So there is no list of members that could differ from what ``callback.decode`` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from listener.core.errors import Undecodable
from listener.core.model import Result
from listener.formats import lenient_json
from listener.formats.callback import decode

#: Members at this depth, and no deeper, are looked at one by one.
MAX_DEPTH: Final = 4
#: Each member costs one decoding; real callbacks have a few dozen.
MAX_MEMBERS: Final = 200

#: Fields that depend on everything in a callback or event.
_WHOLE: Final = frozenset({"raw", "event"})
_FIELDS: Final = tuple(each.name for each in fields(Result) if each.name not in _WHOLE)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a callback, and the fields of its result that it determines; none of a member that is not read."""

    name: str  #: as the callback spells it; with dots for a member of a member
    fields: tuple[str, ...]


def read_members(raw: str) -> tuple[Member, ...]:
    """The members of a callback without its wrappers (``Result.raw``), in their order; of huge ones the first.

    A member whose other value would not be a callback at all determines ``state``, or what identifies the result.
    """
    try:
        before, document = decode(raw), lenient_json.parse(raw)
    except (Undecodable, lenient_json.BadJson):
        return ()
    found: list[Member] = []
    for path, value in _leaves(document):
        if len(found) == MAX_MEMBERS:
            break
        found.append(Member(".".join(path), _determined(document, path, value, before)))
    return tuple(found)


def _determined(document: Any, path: Path, value: Any, before: Result) -> tuple[str, ...]:
    try:
        after = decode(lenient_json.render(_changed(document, path, _other(value))))
    except Undecodable as error:
        return ("state",) if "state" in error.reason else ("job_id",)
    return tuple(name for name in _FIELDS if getattr(before, name) != getattr(after, name))


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What is not an object, or too deep."""
    for name, member in value.items():
        if isinstance(member, dict) and member and len(path) + 1 < MAX_DEPTH:
            yield from _leaves(member, (*path, name))
        else:
            yield (*path, name), member


def _changed(value: Any, path: Path, other: Any) -> Any:
    """A copy of the value with another one at this path."""
    if not path:
        return other
    return {**value, path[0]: _changed(value[path[0]], path[1:], other)}


def _other(value: Any) -> Any:
    """Another value, of a kind that is read in the same place."""
    if isinstance(value, list):
        return [] if value else ["~"]
    return f"{value}~" if isinstance(value, str) else "~"
