"""``mns-listener results``: recorded results, including those that matched no route."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.api.serialize import result_dict
from listener.cli.common import (
    ROW_ID,
    config_option,
    examples,
    json_option,
    opened_store,
    page_options,
    print_fields,
    print_json,
    print_next_page,
    print_section,
    print_table,
    read_page,
    settings_from,
)
from listener.cli.filtering import AnyCase, filter_options
from listener.core import clock
from listener.core.documents import to_plain
from listener.core.errors import NotFound
from listener.core.lazy_imports import lazy_imports
from listener.core.model import ResultStatus

with lazy_imports():
    from listener import explanations
    from listener.cli import outputs_text
    from listener.rules import routing
    from listener.store import parked, queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from listener.store.filters import Filters
    from listener.store.queries import StoredResult

EXAMPLES = {
    "list": (
        "mns-listener results list",
        "mns-listener results list --status parked --since 2h",
    ),
    "show": ("mns-listener results show 41",),
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
    """List results, newest first.

    The reason of a parked one is the condition that kept it from the route that came nearest.
    """
    settings = settings_from(path)
    with opened_store(settings, read_only=True) as store:
        stored_results = queries.Queries(store.database)
        wanted = ResultStatus(status) if status else None
        read = partial(stored_results.results, status=wanted, filters=filters)
        page, following = read_page(read, before=before, limit=limit, row_id=attrgetter("id"))
        reasons = explanations.parked_reasons(stored_results, settings.rules(), page)
    if as_json:
        print_json([result_dict(stored) | {"reason": reasons.get(stored.id, "")} for stored in page])
    else:
        _show(page, reasons)
    print_next_page(following)


def _show(page: Sequence[StoredResult], reasons: Mapping[int, str]) -> None:
    print_table(
        (
            *("id", "job", "type", "function", "state", "user data", "queue", "status", "received", "copies"),
            "reason",
        ),
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
                reasons.get(stored.id, ""),
            )
            for stored in page
        ],
        empty="no results",
        whole=("id", "job"),
    )


@results.command("show", epilog=examples(EXAMPLES, "show"))
@click.argument("result_id", metavar="ID", type=ROW_ID)
@config_option
@json_option
def show_result(*, result_id: int, path: Path | None, as_json: bool) -> None:
    """Show one result, and why it matches each route or not.

    By the routes of the settings; the one that came nearest is the first: it fails at a later condition than the rest.
    """
    settings = settings_from(path)
    with opened_store(settings, read_only=True) as store:
        stored_results = queries.Queries(store.database)
        stored = stored_results.result(result_id)
        if stored is None:
            raise NotFound(f"no result has the id {result_id}; list them with `mns-listener results list`")
        job = stored_results.jobs_of([result_id]).get(result_id)
        reasons = explanations.reasons_of(stored_results, settings.rules(), stored)
    fields: dict[str, Any] = result_dict(stored, job=job)
    if as_json:
        print_json(fields | {"routes": to_plain(tuple(reasons))})
        return
    outputs = fields.pop("outputs")
    activities = outputs_text.activity_lines(fields["activities"])
    routes = [f"{reason.route}: {reason.text}" for reason in reasons]
    print_fields(fields | {"activities": activities, "routes": routes})
    if outputs:
        print_section("outputs", outputs_text.output_fields(outputs))


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
