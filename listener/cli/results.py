"""``mns-listener results``: what callbacks said, also where no route wanted it."""

from __future__ import annotations

from pathlib import Path

import click

from listener.cli.common import (
    config_option,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.serialize import result_facts
from listener.core import clock
from listener.core.model import Disposition
from listener.rules.routing import Correlation, decider

EPILOG = """\b
Examples:
  mns-listener results list
  mns-listener results list --only parked
  mns-listener results route-parked
"""


@click.group(epilog=EPILOG)
def results() -> None:
    """Look at recorded results; route parked ones."""


@results.command("list", epilog=EPILOG)
@click.option(
    "--only", type=click.Choice([str(one) for one in Disposition]), help="Only results of this fate."
)
@page_options
@config_option
@json_option
def list_results(
    *, only: str | None, before: int | None, limit: int, path: Path | None, as_json: bool
) -> None:
    """List results, newest first."""
    from listener.store.queries import Views

    with opened_store(settings_from(path)) as store:
        disposition = Disposition(only) if only else None
        page = Views(store.database).results(disposition=disposition, before=before or 0, limit=limit)
    if as_json:
        print_json([result_facts(kept) for kept in page])
        return
    print_table(
        ("id", "job", "type", "function", "state", "user data", "queue", "fate", "received", "copies"),
        [
            (
                kept.id,
                kept.result.key,
                kept.result.type,
                kept.result.function,
                kept.result.state,
                kept.result.user_data,
                kept.queue,
                kept.disposition,
                kept.received_at,
                kept.copies,
            )
            for kept in page
        ],
        empty="no results",
    )


@results.command("route-parked", epilog=EPILOG)
@config_option
@json_option
def route_parked(*, path: Path | None, as_json: bool) -> None:
    """Try the routes as they are now on results that no route wanted."""
    from listener.store.queries import Views

    settings = settings_from(path)
    decide = decider(settings.rules(), Correlation(), now=clock.now(), grace_over=True)
    with opened_store(settings) as store:
        looked, deliveries = Views(store.database).route_parked(decide, at=clock.now())
    if as_json:
        print_json({"looked_at": looked, "deliveries": deliveries})
    else:
        click.echo(f"looked at {looked} parked results: {deliveries} deliveries")
