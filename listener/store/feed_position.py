"""How far a reader of the event feed has come, and the text that holds it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from listener.core.errors import UsageError

#: How many changes that were not visible yet a position remembers, the newest ones: far more than there are processes.
MAX_OPEN: Final = 1000
#: What a position is as text, for every dialect of patterns.
CURSOR_PATTERN: Final = r"([0-9]{1,18})(?:\.([0-9]{1,9}))?((?:_[0-9]{1,18})*)"
_TEXT: Final = re.compile(CURSOR_PATTERN)


@dataclass(frozen=True, slots=True)
class Position:
    """All changes up to ``change`` have been read, except the ``open`` ones and, if ``rows`` is not 0, the rest of
    ``change`` itself.

    PostgreSQL assigns ids before the transactions that use them are committed, so that a change may become visible
    after one with a greater id. ``open`` are the ids that may still do so, each with the number that the next
    transaction had when it was missed: once all transactions below that number have ended, it will never be there.
    """

    change: int
    rows: int = 0
    open: Mapping[int, int | None] = field(default_factory=dict)  #: None: the number is not known yet

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of ``str``, but for the numbers of transactions. Raises UsageError for any other text."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise UsageError(
                f"{text!r} is not the cursor of an event; use the id of an event, or begin without a cursor"
            )
        change, rows, missed = found.groups()
        return cls(int(change), int(rows or 0), {int(each): None for each in missed.split("_")[1:]})

    def __str__(self) -> str:
        rows = f".{self.rows}" if self.rows else ""
        return f"{self.change}{rows}" + "".join(f"_{each}" for each in self.open)

    def within(self, change: int, rows: int) -> Position:
        """After so many rows of a change that has more. An open one stays open, so that it is read again."""
        return self if change in self.open else replace(self, change=change, rows=rows)

    def after(self, change: int) -> Position:
        """After all of a change."""
        if change in self.open:
            return replace(self, open={each: seen for each, seen in self.open.items() if each != change})
        return replace(self, change=change, rows=0)

    def missing(self, changes: Iterable[int]) -> Position:
        """With these changes open as well."""
        opened = {**self.open, **dict.fromkeys(changes)}
        return replace(self, open=dict(list(opened.items())[-MAX_OPEN:]))

    def without_ended(self, *, oldest: int, next_number: int) -> Position:
        """Without the open changes that will never be there: ``oldest`` is the number of the oldest transaction that
        has not ended, ``next_number`` that of the next one."""
        left = {
            change: next_number if seen is None else seen
            for change, seen in self.open.items()
            if seen is None or seen > oldest
        }
        return replace(self, open=left)
