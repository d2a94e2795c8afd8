"""Where each setting comes from, the file or a variable, and what was written there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from typing import Any, Final

from listener.formats.toml_text import toml_text
from listener.settings.env_overlay import Overlay, Variable

#: How many variables one message names.
_MAX_NAMED: Final = 3


class Origins:
    """Answers for paths as pydantic reports them, such as ``("queues", 0, "wait")``."""

    def __init__(self, *, source: str, document: Mapping[str, Any], overlay: Overlay) -> None:
        """``document`` is that of the file, which is called ``source`` in messages."""
        self._source = source
        self._document = document
        self._overlay = overlay

    def name(self, path: Sequence[Any]) -> str:
        """The file, the variable, or several of them if a table was put together from them."""
        if variable := self._set_by(path):
            return variable.name
        # What is missing has no origin itself, but the table where it is missing has one.
        for length in range(len(path), 0, -1):
            names = [each.name for each in self._overlay.variables if _begins(each.path, path[:length])]
            sources = [self._source] if value_at(self._document, path[:length]) is not None else []
            if sources or names:
                return " and ".join(sources + names[:_MAX_NAMED])
        return self._source

    def scalar(self, path: Sequence[Any]) -> tuple[object, str]:
        """The value at this path, and how it was written; an empty text if it is not a scalar."""
        variable = self._set_by(path)
        value = value_at(self._overlay.document if variable else self._document, path)
        if not isinstance(value, str | int | float | date | time):
            return value, ""
        if variable and len(variable.path) == len(path) and not isinstance(value, str):
            return value, variable.text
        return value, toml_text(value)

    def _set_by(self, path: Sequence[Any]) -> Variable | None:
        """The variable that holds this value, alone or within an array."""
        found = [each for each in self._overlay.variables if _begins(path, each.path)]
        return max(found, key=lambda each: len(each.path), default=None)


def _begins(path: Sequence[Any], beginning: Sequence[Any]) -> bool:
    return [str(part) for part in path[: len(beginning)]] == [str(part) for part in beginning]


def value_at(document: Any, path: Iterable[Any]) -> Any:
    """None if there is nothing at this path."""
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document
