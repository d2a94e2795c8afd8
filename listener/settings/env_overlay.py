"""Settings from the environment, which override those from the file.

A variable is named ``MNS_LISTENER_`` and the path of the setting, joined by ``__``: ``MNS_LISTENER_STORE__URL``,
``MNS_LISTENER_QUEUES__0__WAIT``. List items are addressed by index. ``MNS_LISTENER_QUEUES`` and
``MNS_LISTENER_ROUTES`` hold whole arrays. Values are parsed as TOML, or taken as plain text if they are not TOML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from listener.core.errors import SettingsError
from listener.formats.toml_text import parse_toml
from listener.settings.variable_names import PREFIX, is_other, nearest, path_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable that sets the value at ``path``."""

    name: str
    text: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A document with the values of variables, and what is wrong with other variables."""

    document: Mapping[str, Any]
    variables: Sequence[Variable]
    problems: Sequence[str]


def overlay(document: Mapping[str, Any], environ: Mapping[str, str]) -> Overlay:
    """A copy of the document, overridden by the variables in ``environ``."""
    overlaid: Any = _copied(document)
    variables, problems = [], []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or is_other(name, environ[name]):
            continue
        path = path_of(name)
        try:
            if not path:
                raise SettingsError(_unknown(name))
            _put(overlaid, path, _value(environ[name]), name)
        except SettingsError as error:
            problems.append(str(error))
        else:
            variables.append(Variable(name=name, text=environ[name], path=path))
    return Overlay(document=dict(overlaid), variables=variables, problems=problems)


def _unknown(name: str) -> str:
    meant = nearest(name)
    advice = (
        f"did you mean {meant}?"
        if meant
        else f"the parts of a name are joined by two underscores, e.g. {PREFIX}STORE__URL"
    )
    return f"environment variable {name} does not match any setting; {advice}"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _put(target: Any, path: Sequence[str], value: Any, name: str) -> None:
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
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text
