"""``mns-listener top``: what ``status`` shows, again and again, with the last hour as a curve."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from listener.cli.common import config_option, examples, json_option, opened_store, print_json, settings_from
from listener.cli.status import cells, document, read_status
from listener.cli.status_rows import Status, status_rows
from listener.cli.table import cell_text
from listener.core.check_result import Level
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.cli import folded_table, live_screen

if TYPE_CHECKING:
    from listener.store.statistics import Minute

EXAMPLES = {"top": ("mns-listener top", "mns-listener top --once")}

#: How high a value of the curve is, from nothing to the highest one of the hour.
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_CURVE = ("received", "handled", "failed")
#: The width of the column of names, and of what follows a curve.
_NAMES, _MAXIMUM = 24, 16


@click.command(epilog=examples(EXAMPLES))
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option("--once", is_flag=True, help="Show it once, then end; as if the output is no terminal.")
@config_option
@json_option
def top(*, interval: float, once: bool, path: Path | None, as_json: bool) -> None:
    """Watch how the listener is doing.

    It only reads: the store, and a daemon that answers at http.listen. Press q or Ctrl-C to end it. --json prints once
    what `status --json` does.
    """
    settings = settings_from(path)
    with opened_store(settings, read_only=True) as store:

        def lines() -> list[tuple[Level, str]]:
            found = read_status(store, settings.http.listen)
            return list(top_lines(found, width=shutil.get_terminal_size().columns))

        if as_json:
            found = read_status(store, settings.http.listen)
            print_json(document(found, status_rows(found)))
        elif once or not sys.stdout.isatty():
            for _, line in lines():
                click.echo(line)
        else:
            with suppress(KeyboardInterrupt):
                live_screen.show(lines, interval=interval)


def top_lines(status: Status, *, width: int) -> Iterator[tuple[Level, str]]:
    """The lines of one screen, none wider than ``width``; the level is that of the row which a line belongs to."""
    yield Level.OK, f"mns-listener  {cell_text(status.at)}"
    yield Level.OK, ""
    minutes = status.activity.minutes
    for name in _CURVE:
        yield Level.OK, _curve(name, minutes, width=width)
    yield Level.OK, ""
    for row in status_rows(status):
        _, name, detail = map(cell_text, cells(row))
        for line in _folded(f"{' ' if row.level is Level.OK else '!'} {name}", detail, width=width):
            yield row.level, line


def _folded(name: str, detail: str, *, width: int) -> Iterator[str]:
    """The name, then the detail in a column of its own; a long name has its own line."""
    first, *others = folded_table.fold(detail, width=max(width - _NAMES, folded_table.MIN_FOLDED)) or [""]
    if len(name) < _NAMES:
        yield f"{name:<{_NAMES}}{first}".rstrip()
    else:
        yield from folded_table.fold(name, width=width)
        others = [first, *others]
    for line in others:
        yield f"{'':<{_NAMES}}{line}"


def _curve(name: str, minutes: Sequence[Minute], *, width: int) -> str:
    """The last minutes, the current one at the end."""
    values = [getattr(each, name) for each in minutes][-max(width - _NAMES - _MAXIMUM, 1) :]
    highest = max(values, default=0)
    steps = len(BLOCKS) - 1
    blocks = "".join(BLOCKS[-(-value * steps // highest) if highest else 0] for value in values)
    return f"  {name:<{_NAMES - 2}}{blocks}  max {highest}"
