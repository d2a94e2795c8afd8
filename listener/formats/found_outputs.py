"""Collects what is found in the reply or the callback of MPS, and makes an ``Outputs`` of it."""

from __future__ import annotations

from typing import Any, Final

from listener.core.outputs import Outputs

#: More problems than this add no information.
MAX_PROBLEMS: Final = 20


class FoundOutputs:
    """The outputs that have been found so far, by the names of the fields of ``Outputs``."""

    def __init__(self) -> None:
        self.repaired = False  #: the text had to be repaired before it could be read
        self._lists: dict[str, list[Any]] = {}
        self._values: dict[str, Any] = {}
        self._problems: list[str] = []

    def add(self, name: str, item: Any) -> None:
        """Append to a field that is a tuple."""
        self._lists.setdefault(name, []).append(item)

    def set(self, name: str, value: Any) -> None:
        self._values[name] = value

    def problem(self, text: str) -> None:
        """Note that something cannot be read; each text once."""
        if len(self._problems) < MAX_PROBLEMS and text not in self._problems:
            self._problems.append(text)

    def outputs(self, raw: str) -> Outputs:
        lists: dict[str, Any] = {name: tuple(items) for name, items in self._lists.items()}
        return Outputs(
            **lists,
            **self._values,
            malformed=self.repaired or bool(self._problems),
            problems=tuple(self._problems),
            raw=raw,
        )
