"""Tables for people and for pipes.

On a terminal, long cells are folded, except in columns that hold what a person types into the next command. Where even
that is too wide, each row becomes a paragraph. In a pipe or file, each row is one line of cells separated by tabs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import click

from listener.core.lazy_imports import lazy_imports
from listener.formats.unicode_text import visible

with lazy_imports():
    from listener.cli import folded_table

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
    if is_for_people():
        lines = folded_table.terminal_lines(
            columns, cells, width=shutil.get_terminal_size().columns, whole=whole
        )
    else:
        lines = piped_lines(columns, cells)
    for line in lines:
        click.echo(line)


def is_for_people() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def cell_text(value: Any) -> str:
    """The value in one line of visible characters; times are local."""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return "" if value is None else visible(str(value))


def piped_lines(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    """The names of the columns, then the rows, separated by tabs; no cell contains a tab or is padded."""
    return map(piped_line, (columns, *rows))


def piped_line(cells: Sequence[str]) -> str:
    """One line of such a table."""
    return "\t".join(cell.strip() or EMPTY for cell in cells)
