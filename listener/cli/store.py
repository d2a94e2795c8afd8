"""``mns-listener store``: status and maintenance of the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.cli.common import config_option, examples, json_option, print_fields, print_json, settings_from
from listener.cli.output_file import output_file, output_option
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.store import database as databases
    from listener.store import maintenance, schema

if TYPE_CHECKING:
    from listener.store.database import Database
    from listener.store.maintenance import StoreStatus

MEGABYTE = 1_000_000

EXAMPLES = {
    "status": ("mns-listener store status",),
    "upgrade": ("mns-listener store upgrade",),
    "vacuum": ("mns-listener store vacuum",),
    "export": ("mns-listener store export --output everything.jsonl",),
}


@click.group(epilog=examples(EXAMPLES))
def store() -> None:
    """Show the status of the store; migrate, compact or export it."""


@store.command("status", epilog=examples(EXAMPLES, "status"))
@config_option
@json_option
def show_status(*, path: Path | None, as_json: bool) -> None:
    """Show schema, size and row counts. Scans the whole store."""
    with _database(path, read_only=True) as database:
        found = maintenance.status(database)
    if as_json:
        print_json(asdict(found) | {"hint": found.hint})
    else:
        print_fields(_fields(found))


@store.command(epilog=examples(EXAMPLES, "upgrade"))
@config_option
def upgrade(*, path: Path | None) -> None:
    """Migrate the schema to this release.

    Creates the store if it does not exist. The daemon does the same at startup.
    """
    with _database(path) as database:
        since = schema.version(database)
        done = schema.upgrade(database)
        now = f"{since or 'none'} → {schema.HEAD}" if done else f"{schema.HEAD}, up to date"
        click.echo(f"{database.display_url}: schema {now}")


@store.command(epilog=examples(EXAMPLES, "vacuum"))
@config_option
def vacuum(*, path: Path | None) -> None:
    """Reclaim disk space of deleted rows. On SQLite this blocks all writers until it has finished."""
    with _database(path) as database:
        before, after = maintenance.vacuum(database)
        click.echo(f"{database.display_url}: {_size(before)} → {_size(after)}")


@store.command(epilog=examples(EXAMPLES, "export"))
@output_option
@config_option
def export(*, output: Path, path: Path | None) -> None:
    """Export all records as JSON lines.

    That is, all jobs, results, deliveries and quarantined messages.
    """
    with _database(path, read_only=True) as database, output_file(output) as file:
        for row in maintenance.export(database):
            file.write(json.dumps(row) + "\n")


@contextmanager
def _database(path: Path | None, *, read_only: bool = False) -> Iterator[Database]:
    """The database with whatever schema it has; nothing is migrated."""
    with closing(databases.Database(settings_from(path).store.url, read_only=read_only)) as database:
        yield database


def _fields(found: StoreStatus) -> dict[str, Any]:
    return {
        "store": found.store,
        "schema": f"{found.schema or 'none'} (this release: {found.head})",
        "size": _size(found.bytes),
        "size per job": found.bytes_per_job and _size(found.bytes_per_job),
        "oldest pending": found.oldest_pending,
        **{table: _counted(states) for table, states in found.rows.items()},
        "hint": found.hint,
    }


def _counted(states: Any) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"


def _size(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB" if size >= MEGABYTE / 10 else f"{size / 1000:.1f} kB"
