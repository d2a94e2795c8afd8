"""Settings from the environment, which override those from the file.

A variable is named ``MNS_LISTENER_`` and the path of the setting, joined by ``__``: ``MNS_LISTENER_STORE__URL``,
``MNS_LISTENER_QUEUES__0__WAIT``. List items are addressed by index. ``MNS_LISTENER_QUEUES`` and
``MNS_LISTENER_ROUTES`` hold whole arrays. Values are parsed as TOML, or taken as plain text if they are not TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from listener.core.errors import SettingsError

PREFIX = "MNS_LISTENER_"


def overlay(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the document, overridden by the variables in ``environ``."""
    overlaid: Any = _copied(document)
    for name in sorted(environ):
        path = name.removeprefix(PREFIX).lower().split("__")
        if name.startswith(PREFIX) and (len(path) > 1 or path[0] in ("queues", "routes")):
            _put(overlaid, path, _value(environ[name]), name)
    return dict(overlaid)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _put(target: Any, path: list[str], value: Any, name: str) -> None:
    for key, following in pairwise(path):
        target = _child(target, key, [] if following.isdecimal() else {}, name)
    if isinstance(target, dict):
        target[path[-1]] = value
    else:
        _child(target, path[-1], value, name)
        target[int(path[-1])] = value


def _child(target: Any, key: str, default: Any, name: str) -> Any:
    """``target[key]``, created if absent; a list may grow by one item at its end."""
    if isinstance(target, dict):
        return target.setdefault(key, default)
    if not isinstance(target, list) or not key.isdecimal() or int(key) > len(target):
        raise SettingsError(
            f"environment variable {name} does not match any setting ({key!r} is not valid here); "
            "list items are addressed by index, from 0 without gaps"
        )
    if int(key) == len(target):
        target.append(default)
    return target[int(key)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # TOMLDecodeError, or a number of thousands of digits
        return text
