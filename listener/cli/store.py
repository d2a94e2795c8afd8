"""``mns-listener store``: the store as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from listener.cli.common import config_option, json_option, print_fields, print_json, settings_from

if TYPE_CHECKING:
    from listener.store.database import Database
    from listener.store.maintenance import StoreStatus

MEGABYTE = 1_000_000

EPILOG = """\b
Examples:
  mns-listener store status
  mns-listener store upgrade
  mns-listener store vacuum
  mns-listener store export --output everything.jsonl
"""


@click.group(epilog=EPILOG)
def store() -> None:
    """See how the store is; upgrade it, shrink it, or take everything out."""


@store.command("status", epilog=EPILOG)
@config_option
@json_option
def show_status(*, path: Path | None, as_json: bool) -> None:
    """Show schema, size and what is in the store. Reads all of it."""
    from listener.store import maintenance

    with _database(path) as database:
        found = maintenance.status(database)
    if as_json:
        print_json(asdict(found) | {"hint": found.hint})
    else:
        print_fields(_fields(found))


@store.command(epilog=EPILOG)
@config_option
def upgrade(*, path: Path | None) -> None:
    """Bring the schema up to this release, making the store where there is none.

    The daemon does the same at its start.
    """
    from listener.store import schema

    with _database(path) as database:
        since = schema.version(database)
        done = schema.upgrade(database)
        now = f"{since or 'nothing'} → {schema.HEAD}" if done else f"{schema.HEAD}, nothing to do"
        click.echo(f"{database.display_url}: schema {now}")


@store.command(epilog=EPILOG)
@config_option
def vacuum(*, path: Path | None) -> None:
    """Give room back that deleted rows have left. On SQLite nobody can write meanwhile."""
    from listener.store import maintenance

    with _database(path) as database:
        before, after = maintenance.vacuum(database)
        click.echo(f"{database.display_url}: {_size(before)} → {_size(after)}")


@store.command(epilog=EPILOG)
@click.option(
    "--output",
    type=click.File("w", encoding="utf-8", atomic=True),
    default="-",
    help="File to write, whole or not at all.  [default: standard output]",
)
@config_option
def export(*, output: TextIO, path: Path | None) -> None:
    """Write all jobs, results, deliveries and quarantined messages as JSON lines."""
    from listener.store import maintenance

    with _database(path) as database:
        for row in maintenance.export(database):
            output.write(json.dumps(row) + "\n")


@contextmanager
def _database(path: Path | None) -> Iterator[Database]:
    """The database as it is, with whatever schema."""
    from listener.store.database import Database

    with closing(Database(settings_from(path).store.url)) as database:
        yield database


def _fields(found: StoreStatus) -> dict[str, Any]:
    return {
        "store": found.store,
        "schema": f"{found.schema or 'none'} (this release: {found.head})",
        "size": _size(found.bytes),
        "size per job": found.bytes_per_job and f"{found.bytes_per_job} B",
        "oldest pending": found.oldest_pending,
        **{table: _counted(states) for table, states in found.rows.items()},
        "to do": found.hint,
    }


def _counted(states: Any) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"


def _size(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"
