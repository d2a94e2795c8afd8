"""Settings from the environment, laid over those from the file.

``MNS_LISTENER_`` and the path with ``__`` between its parts: ``MNS_LISTENER_STORE__URL``,
``MNS_LISTENER_QUEUES__0__WAIT``. ``MNS_LISTENER_QUEUES`` and ``MNS_LISTENER_ROUTES`` hold whole arrays. Values
are read as TOML, and as plain text where they are none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from listener.core.errors import SettingsError

PREFIX = "MNS_LISTENER_"


def overlay(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The document with what the environment says put over it."""
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
    """``target[key]``, made if absent; a list may grow by one at its end."""
    if isinstance(target, dict):
        return target.setdefault(key, default)
    if not isinstance(target, list) or not key.isdecimal() or int(key) > len(target):
        raise SettingsError(f"environment variable {name}: there is no place {key!r}")
    if int(key) == len(target):
        target.append(default)
    return target[int(key)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
