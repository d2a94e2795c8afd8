"""Members of JSON documents by their path, such as ``MessageBody.Status`` or ``Details.0``."""

from __future__ import annotations

import copy
import json
from typing import Any


def with_member(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the document with this member changed, or added if it is not there.

    Names ignore case, and of a member that is there in several spellings all are changed, since callbacks have some
    twice. Raises ValueError for a path that leads through anything but objects and items of lists.
    """
    changed = copy.deepcopy(document)
    _put(changed, path.split("."), value, path=path)
    return changed


def missing_member(document: Any, path: str) -> str:
    """Why the document has no member with this path, as far as it goes, and what it has; empty if it has one."""
    before = ""
    for name in path.split("."):
        if not isinstance(document, dict):
            return ""  # an item of a list, or nowhere: see ``with_member``
        found = [key for key in document if key.casefold() == name.casefold()]
        if not found:
            place = f"{before} has" if before else "there is"
            return f"{place} no member {name!r}; there are {', '.join(document) or 'none'}"
        document, before = document[found[0]], f"{before}.{name}" if before else name
    return ""


def json_or_text(text: str) -> Any:
    """The JSON value in this text; the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(container: Any, names: list[str], value: Any, *, path: str) -> None:
    name, *rest = names
    if not name:
        raise ValueError(f"{path!r} has an empty name")
    for key in _keys(container, name, path=path):
        if not rest:
            container[key] = copy.deepcopy(value)
        elif isinstance(container, dict) and key not in container:
            container[key] = {}
            _put(container[key], rest, value, path=path)
        else:
            _put(container[key], rest, value, path=path)


def _keys(container: Any, name: str, *, path: str) -> list[Any]:
    """The keys, or the index, that a name stands for."""
    if isinstance(container, dict):
        return [key for key in container if key.casefold() == name.casefold()] or [name]
    if isinstance(container, list) and name.isascii() and name.isdigit() and int(name) < len(container):
        return [int(name)]
    raise ValueError(f"{path!r} leads nowhere: there is no {name!r} in what is before it")
