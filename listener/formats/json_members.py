"""Reads parsed JSON that comes from MPS: names in any spelling, numbers as text, lists in several shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from listener.formats import lenient_json
from listener.formats.unicode_text import shortened

#: How often the vendor's lists of lists may be nested; once is documented.
MAX_LISTS: Final = 3
#: Integers beyond this are not exact in JSON.
MAX_INTEGER: Final = 2**53


class Members:
    """The members of an object, found by name whatever its case; remembers which were not taken.

    Anything but an object has no members. Of two spellings of a name, PascalCase takes precedence.
    """

    def __init__(self, value: Any) -> None:
        self._left: dict[str, tuple[str, Any]] = {}
        for name, member in value.items() if isinstance(value, dict) else ():
            folded = name.strip().casefold()
            if member is not None and (folded not in self._left or name.strip()[:1].isupper()):
                self._left[folded] = (name, member)

    def get(self, name: str) -> Any:
        return self._left.get(name.casefold(), ("", None))[1]

    def take(self, name: str) -> Any:
        return self._left.pop(name.casefold(), ("", None))[1]

    def put(self, name: str, value: Any) -> None:
        self._left[name.casefold()] = (name, value)

    def left(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """What was not taken, as it was."""
        omitted = {name.casefold() for name in without}
        return {name: member for folded, (name, member) in self._left.items() if folded not in omitted}


def folded(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members by case-folded name, since MPS is not consistent in its spelling."""
    return {name.casefold(): value for name, value in members.items()}


def listed(value: Any) -> Sequence[Any]:
    """The items of a list, or a single value as the only item; nothing for an empty value."""
    if value is None or value == {}:
        return ()
    return value if isinstance(value, list) else (value,)


def items(value: Any, name: str, *, depth: int = MAX_LISTS) -> Sequence[Any]:
    """The items of a list as MPS writes it: bare, or as the member ``name`` of an object; one item may be alone."""
    found: list[Any] = []
    for item in listed(value):
        inner = folded(item).get(name.casefold()) if isinstance(item, dict) and len(item) == 1 else None
        found.extend([item] if inner is None or not depth else items(inner, name, depth=depth - 1))
    return found


def number(value: Any) -> float | None:
    """A finite number, also if it is given as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 40:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole_number(value: Any) -> int | None:
    """A non-negative integer, also if it is given as text."""
    found = number(value)
    if found is None or not 0 <= found <= MAX_INTEGER or found != int(found):
        return None
    return int(found)


def as_text(value: Any) -> str:
    """A string unchanged, None as "", and anything else as its JSON text."""
    if isinstance(value, str):
        return value
    return "" if value is None else lenient_json.render(value)


def excerpt(value: Any) -> str:
    return shortened(value if isinstance(value, str) else lenient_json.render(value), 60)
