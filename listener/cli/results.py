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
from listener.cli.serialize import result_dict
from listener.core import clock
from listener.core.model import ResultStatus
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
    "--only", type=click.Choice([str(one) for one in ResultStatus]), help="Only results of this fate."
)
@page_options
@config_option
@json_option
def list_results(
    *, only: str | None, before: int | None, limit: int, path: Path | None, as_json: bool
) -> None:
    """List results, newest first."""
    from listener.store.queries import Queries

    with opened_store(settings_from(path)) as store:
        status = ResultStatus(only) if only else None
        page = Queries(store.database).results(status=status, before=before or 0, limit=limit)
    if as_json:
        print_json([result_dict(stored) for stored in page])
        return
    print_table(
        ("id", "job", "type", "function", "state", "user data", "queue", "fate", "received", "copies"),
        [
            (
                stored.id,
                stored.result.key,
                stored.result.type,
                stored.result.function,
                stored.result.state,
                stored.result.user_data,
                stored.queue,
                stored.status,
                stored.received_at,
                stored.copies,
            )
            for stored in page
        ],
        empty="no results",
    )


@results.command("route-parked", epilog=EPILOG)
@config_option
@json_option
def route_parked(*, path: Path | None, as_json: bool) -> None:
    """Try the routes as they are now on results that no route wanted."""
    from listener.store.parked import reroute_parked

    settings = settings_from(path)
    decide = decider(settings.rules(), Correlation(), now=clock.now(), wait_over=True)
    with opened_store(settings) as store:
        looked, deliveries = reroute_parked(store.database, decide, at=clock.now())
    if as_json:
        print_json({"looked_at": looked, "deliveries": deliveries})
    else:
        click.echo(f"looked at {looked} parked results: {deliveries} deliveries")
