"""``mns-listener status``: how the listener is doing, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener import __version__
from listener.cli.common import (
    config_option,
    examples,
    json_option,
    opened_store,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.status_rows import Status, StatusRow, healthy, status_rows
from listener.core import clock
from listener.core.check_result import Level
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.api import serialize
    from listener.cli import daemon_view
    from listener.runtime import lease_owner
    from listener.store import daemons, statistics

if TYPE_CHECKING:
    from listener.store.sql_store import SqlStore

EXAMPLES = {"status": ("mns-listener status", "mns-listener status --json")}


@click.command(epilog=examples(EXAMPLES))
@config_option
@json_option
@click.pass_context
def status(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """Show how the listener is doing, and what to do.

    It only reads: the store, and a daemon that answers at http.listen. The exit status is 0 if a daemon runs, is ready
    and its queues answer, else 1, also if a daemon of this machine does not answer there. What waits for a person, such
    as dead letters, is a warning and does not change it.
    """
    settings = settings_from(path)
    with opened_store(settings, read_only=True) as store:
        found = read_status(store, settings.http.listen)
    rows = status_rows(found)
    if as_json:
        print_json(document(found, rows))
    else:
        print_table(("level", "what", "detail"), list(map(cells, rows)), empty="nothing is known")
    ctx.exit(ExitCode.OK if healthy(rows) else ExitCode.FAILED)


def read_status(store: SqlStore, listen: str) -> Status:
    """Raises StoreUnavailable."""
    now = clock.now()
    figures = statistics.Statistics(store.database)
    view = daemon_view.daemon_view(listen)
    return Status(
        at=now,
        daemons=daemons.Daemons(store.database).running(now),
        view=view,
        silent="" if view else listen,
        host=lease_owner.host_name(),
        totals=figures.totals(now),
        unserved=store.unserved_jobs(at=now),
        newer_kinds=store.accepted_newer_kinds(release=__version__, at=now),
        activity=figures.activity(now),
    )


def cells(row: StatusRow) -> tuple[str, str, str]:
    """What is shown of a row."""
    level = row.level.upper() if row.level is Level.FAILED else row.level
    return (level, row.name, f"{row.detail}; {row.advice}" if row.advice else row.detail)


def document(found: Status, rows: Sequence[StatusRow]) -> dict[str, Any]:
    """The shape that scripts rely on."""
    return {
        "healthy": healthy(rows),
        "at": found.at,
        "daemons": [serialize.daemon_dict(each) for each in found.daemons],
        "queues": [
            {
                "name": each.name,
                "fault": each.fault,
                "last_receive_age_seconds": each.receive_age and each.receive_age.total_seconds(),
                "pollers": each.pollers,
            }
            for each in (found.view.queues if found.view else ())
        ],
        "totals": serialize.totals_dict(found.totals),
        "activity": serialize.activity_dict(found.activity),
        "rows": [
            {"level": each.level, "name": each.name, "detail": each.detail, "advice": each.advice}
            for each in rows
        ],
    }
