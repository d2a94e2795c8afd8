"""Shared by all commands: loading the settings, opening the store, and printing."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from listener.cli.options import config_option
from listener.cli.table import cell_text, is_for_people, print_table
from listener.core.lazy_imports import lazy_imports
from listener.formats.unicode_text import visible, visible_json

with lazy_imports():
    from listener import client as clients
    from listener.runtime import tracing
    from listener.settings import loader
    from listener.store import sql_store

if TYPE_CHECKING:
    from listener.client import Client
    from listener.settings.sections import Settings
    from listener.store.searching import Page
    from listener.store.sql_store import SqlStore

__all__ = [
    "config_option",
    "print_table",
]  # re-exported, so that commands import all shared functions from here

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: Fields whose text is copied from a terminal, so that it is not folded there, and the least width to fold to.
COPIED: Final = frozenset({"raw", "body", "params", "user_data"})
MIN_ROOM: Final = 30


class _RowId(click.IntRange):
    """A positive 64-bit integer."""

    name = "id"  #: in messages and help texts


ROW_ID = _RowId(1, 2**63 - 1)


def examples(by_command: Mapping[str, Sequence[str]], *commands: str) -> str:
    """The end of a help text: the examples of these commands of a group, or of all."""
    lines = [line for name in commands or by_command for line in by_command[name]]
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def page_options(command: F) -> F:
    limit = click.option(
        "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of rows."
    )
    before = click.option(
        "--before",
        type=ROW_ID,
        default=None,
        help="Continue a listing after the row with this id.",
    )
    return limit(before(command))


def read_page(
    read: Callable[..., Page[T]], *, before: int | None, limit: int, row_id: Callable[[T], int]
) -> tuple[Sequence[T], int]:
    """A page of rows, and the ``--before`` of the next one; 0 if there is none.

    ``read`` is called with ``before`` and ``limit``, again and again while it finds fewer, but there may be others: for
    one more row, to see whether there is a next page.
    """
    page: list[T] = []
    following = before or 0
    while len(page) <= limit:
        found = read(before=following, limit=limit + 1 - len(page))
        page += found
        following = found.next
        if not following:
            break
    return page[:limit], row_id(page[limit - 1]) if len(page) > limit else 0


def print_next_page(before: int) -> None:
    """Say on standard error how to go on, if there is a next page."""
    if before:
        click.echo(f"next page: --before {before}", err=True)


def settings_from(path: Path | None) -> Settings:
    """Raises SettingsError."""
    return loader.settings_from(path)


@contextmanager
def opened_client(settings: Settings, *, create: bool = True, read_only: bool = False) -> Iterator[Client]:
    """Its calls have the deadline of the settings. What it submits and registers continues the trace of the caller."""
    with (
        clients.Client(settings, create=create, read_only=read_only) as client,
        tracing.called_by(os.environ.get("TRACEPARENT", "")),
    ):
        yield client


@contextmanager
def opened_store(settings: Settings, *, read_only: bool = False) -> Iterator[SqlStore]:
    """The store, which must exist. Its calls have no deadline, since those for operators may look at many rows."""
    store = sql_store.SqlStore.open_existing(settings.store.url, read_only=read_only)
    try:
        yield store
    finally:
        store.close()


def print_warnings(warnings: Iterable[str]) -> None:
    """On standard error, so that they do not mix with what a command prints."""
    for warning in warnings:
        click.echo(f"Warning: {visible(warning)}", err=True)


def print_json(value: Any) -> None:
    ascii_only = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    click.echo(visible_json(json.dumps(value, ensure_ascii=ascii_only, default=json_value)))


def print_one(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a job or a delivery as JSON or as text."""
    print_json(fields) if as_json else print_fields(fields)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values; an item of a list has a line of its own, and empty values are omitted.

    At a terminal, long lines are folded at blanks, except for texts that are copied from there.
    """
    lines = {name: _value_lines(value) for name, value in fields.items() if value not in (None, "", (), [])}
    width = max((len(name) for name in lines), default=0)
    room = shutil.get_terminal_size().columns - width - 2 if is_for_people() else 0
    for name, values in lines.items():
        parts = values if name in COPIED or room < MIN_ROOM else _folded(values, room)
        for number, part in enumerate(parts):
            click.echo(f"{'' if number else name:<{width}}  {part}")


def print_section(title: str, fields: Mapping[str, Any]) -> None:
    """The same below a title."""
    click.echo(f"\n{title}")
    print_fields(fields)


def _folded(lines: Sequence[str], width: int) -> list[str]:
    """Further lines of a value are indented."""
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    ]


def _value_lines(value: Any) -> list[str]:
    return list(map(_one_line, value)) if isinstance(value, list | tuple) else [_one_line(value)]


def _one_line(value: Any) -> str:
    """JSON values as JSON, anything else as in a table."""
    return (
        visible(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) else cell_text(value)
    )


def json_value(value: Any) -> Any:
    """For ``json.dumps``: what JSON has no type for, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
