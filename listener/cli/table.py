"""Tables for people and for pipes.

On a terminal, long cells are folded, except in columns that hold what a person types into the next command. Where even
that is too wide, each row becomes a paragraph. In a pipe or file, each row is one line of cells separated by tabs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

import click

from listener.formats.unicode_text import visible

#: Columns are not folded to less than this width, and the number of blanks between two columns.
MIN_FOLDED, GAP = 20, 2
#: An empty cell in a pipe, so that a line has as many words as there are columns for programs that split at blanks.
EMPTY: Final = "-"

Rows = Sequence[Sequence[str]]


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str, whole: Collection[str] = ()
) -> None:
    """Print a table, or the text ``empty`` if there are no rows. Cells of the columns ``whole`` are never folded."""
    if not rows:
        click.echo(empty)
        return
    cells = [[cell_text(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        lines = terminal_lines(columns, cells, width=shutil.get_terminal_size().columns, whole=whole)
    else:
        lines = piped_lines(columns, cells)
    for line in lines:
        click.echo(line)


def cell_text(value: Any) -> str:
    """The value in one line of visible characters; times are local."""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return "" if value is None else visible(str(value))


def piped_lines(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    """The names of the columns, then the rows, separated by tabs; no cell contains a tab or is padded."""
    for cells in (columns, *rows):
        yield "\t".join(cell.strip() or EMPTY for cell in cells)


def terminal_lines(
    columns: Sequence[str], rows: Rows, *, width: int, whole: Collection[str] = ()
) -> Iterator[str]:
    """A table that fits into ``width``; if it cannot, a paragraph per row. Nothing is cut off."""
    from rich.cells import cell_len

    natural = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    foldable = [name not in whole for name in columns]
    widths = _widths(natural, foldable, width - GAP * (len(columns) - 1))
    if widths is None:
        return (line for row in rows for line in _paragraph(columns, row, width=width))
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
    from rich.cells import chop_cells, set_cell_size

    for row in (columns, *rows):
        folded = [chop_cells(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            padded = map(set_cell_size, parts, widths)
            yield (" " * GAP).join(padded).rstrip()


def _paragraph(columns: Sequence[str], row: Sequence[str], *, width: int) -> Iterator[str]:
    """``name: value`` for each cell that is not empty, as many on a line as fit, further lines indented."""
    from rich.cells import cell_len

    gap, line = " " * GAP, ""
    for name, value in zip(columns, row, strict=True):
        part = f"{name}: {value}"
        if not value.strip():
            continue
        if line and cell_len(line + gap + part) > width:
            yield line
            line = gap + part
        else:
            line += gap + part if line else part
    yield line.rstrip()
