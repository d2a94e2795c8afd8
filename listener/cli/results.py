"""``mns-listener results``: recorded results, including those that matched no route."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.api.serialize import result_dict
from listener.cli.common import (
    config_option,
    examples,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.filtering import AnyCase, filter_options
from listener.core import clock
from listener.core.lazy_imports import lazy_imports
from listener.core.model import ResultStatus

with lazy_imports():
    from listener.rules import routing
    from listener.store import parked, queries

if TYPE_CHECKING:
    from listener.store.filters import Filters

EXAMPLES = {
    "list": (
        "mns-listener results list",
        "mns-listener results list --status parked --since 2h",
    ),
    "reroute": ("mns-listener results reroute",),
}


@click.group(epilog=examples(EXAMPLES))
def results() -> None:
    """List recorded results; reroute parked ones."""


@results.command("list", epilog=examples(EXAMPLES, "list"))
@click.option(
    "--status", type=AnyCase([str(one) for one in ResultStatus]), help="Only results with this status."
)
@filter_options()
@page_options
@config_option
@json_option
def list_results(
    *,
    status: str | None,
    filters: Filters,
    before: int | None,
    limit: int,
    path: Path | None,
    as_json: bool,
) -> None:
    """List results, newest first."""
    with opened_store(settings_from(path), read_only=True) as store:
        wanted = ResultStatus(status) if status else None
        page = queries.Queries(store.database).results(
            status=wanted, filters=filters, before=before or 0, limit=limit
        )
    if as_json:
        print_json([result_dict(stored) for stored in page])
        return
    print_table(
        ("id", "job", "type", "function", "state", "user data", "queue", "status", "received", "copies"),
        [
            (
                stored.id,
                stored.result.subject,
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
        whole=("id", "job"),
    )


@results.command("reroute", epilog=examples(EXAMPLES, "reroute"))
@config_option
@json_option
def reroute(*, path: Path | None, as_json: bool) -> None:
    """Re-evaluate routing of parked results, with the current routes."""
    settings = settings_from(path)
    correlation = settings.correlation_rules().for_recorded()
    decide = routing.decider(settings.rules(), correlation, now=clock.now(), wait_over=True)
    with opened_store(settings) as store:
        examined, deliveries = parked.reroute_parked(store.database, decide, at=clock.now())
    if as_json:
        print_json({"examined": examined, "deliveries": deliveries})
    else:
        click.echo(f"examined {examined} parked results, created {deliveries} deliveries")
