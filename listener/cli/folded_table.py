"""Tables for a terminal: folded to its width, or a paragraph for each row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len, chop_cells, set_cell_size

Rows = Sequence[Sequence[str]]

#: Columns are not folded to less than this width, and the number of blanks between two columns.
MIN_FOLDED: Final = 20
GAP: Final = 2

_WORD: Final = re.compile(r"[^ ]+ *|^ +")


def terminal_lines(
    columns: Sequence[str], rows: Rows, *, width: int, whole: Collection[str] = ()
) -> Iterator[str]:
    """A table that fits into ``width``; if it cannot, a paragraph per row. Nothing is cut off."""
    natural = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    foldable = [name not in whole for name in columns]
    widths = _widths(natural, foldable, width - GAP * (len(columns) - 1))
    if widths is None:
        return (line for row in rows for line in _paragraph(columns, row, width=width, whole=whole))
    return _folded(columns, rows, widths=widths)


def _widths(natural: Sequence[int], foldable: Sequence[bool], available: int) -> Sequence[int] | None:
    """The widths of all columns, the space shared evenly by those that are folded; None if there is too little."""
    folded = {place for place, width in enumerate(natural) if foldable[place] and width > MIN_FOLDED}
    widths = list(natural)
    left = available - sum(width for place, width in enumerate(natural) if place not in folded)
    for number, place in enumerate(sorted(folded, key=natural.__getitem__)):
        widths[place] = min(natural[place], left // (len(folded) - number))
        if widths[place] < MIN_FOLDED:
            return None
        left -= widths[place]
    return widths if left >= 0 else None


def _folded(columns: Sequence[str], rows: Rows, *, widths: Sequence[int]) -> Iterator[str]:
    for row in (columns, *rows):
        folded = [fold(cell, width=width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            padded = map(set_cell_size, parts, widths)
            yield (" " * GAP).join(padded).rstrip()


def fold(text: str, *, width: int) -> list[str]:
    """Lines that end at blanks; a word that is longer than a line is split."""
    lines, line = [], ""
    for word in _WORD.findall(text):
        if line and cell_len(line + word.rstrip()) > width:
            lines.append(line)
            line = ""
        *full, rest = chop_cells(line + word, width) if cell_len(word.rstrip()) > width else [line + word]
        lines += full
        line = rest
    return [*lines, line]


def _paragraph(
    columns: Sequence[str], row: Sequence[str], *, width: int, whole: Collection[str]
) -> Iterator[str]:
    """``name: value`` for each cell that is not empty, as many on a line as fit, further lines indented.

    What is longer than a line is folded, with a deeper indentation, unless its column is in ``whole``.
    """
    gap, line, indent = " " * GAP, "", ""
    for name, value in zip(columns, row, strict=True):
        part = f"{name}: {value.strip()}"
        if not value.strip():
            continue
        if line and cell_len(line + gap + part) <= width:
            line += gap + part
            continue
        if line:
            yield line
            indent = gap
        line = indent + part
        if cell_len(line) > width and name not in whole:
            first, *others = fold(part, width=max(width - 2 * GAP, MIN_FOLDED))
            yield indent + first.rstrip()
            *full, line = (2 * gap + other.rstrip() for other in others) if others else ("",)
            yield from full
            indent = gap
    if line:
        yield line
