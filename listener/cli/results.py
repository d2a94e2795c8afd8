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
from listener.cli.selection import Action, Selection, carry_out, selection_options
from listener.core import clock
from listener.core.documents import to_plain
from listener.core.errors import NotFound
from listener.core.lazy_imports import lazy_imports
from listener.core.model import ResultStatus

with lazy_imports():
    from listener import explanations
    from listener.api import row_changes
    from listener.cli import outputs_text
    from listener.rules import routing
    from listener.store import parked, queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from listener.settings.sections import Settings
    from listener.store.filters import Filters
    from listener.store.queries import StoredResult
    from listener.store.row_actions import Changed
    from listener.store.sql_store import SqlStore

#: No route has got a parked result.
FILTERS = ("function", "kind", "reference", "queue", "result_state", "since", "until")
REROUTE = Action(
    verb="reroute",
    done="rerouted",
    what="parked results",
    refuses=True,
    filters=FILTERS,
    state=True,
    bare=True,
)
DROP = Action(verb="drop", done="dropped", what="parked results", asks=True, filters=FILTERS, state=True)

EXAMPLES = {
    "list": (
        "mns-listener results list",
        "mns-listener results list --status parked --since 2h",
    ),
    "show": ("mns-listener results show 41",),
    "reroute": (
        "mns-listener results reroute",
        "mns-listener results reroute 41 42",
        "mns-listener results reroute --all --function Cover --dry-run",
    ),
    "drop": (
        "mns-listener results drop 41",
        "mns-listener results drop --all --until 2026-05-01 --yes",
    ),
}


@click.group(epilog=examples(EXAMPLES))
def results() -> None:
    """List recorded results; reroute or drop parked ones."""


@results.command("list", epilog=examples(EXAMPLES, "list"))
@click.option(
    "--status", type=AnyCase([str(one) for one in ResultStatus]), help="Only results with this status."
)
@filter_options(state=True)
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


@results.command(
    "reroute", short_help="Re-evaluate routing of parked results.", epilog=examples(EXAMPLES, "reroute")
)
@selection_options(REROUTE)
@config_option
def reroute(*, selection: Selection, path: Path | None) -> None:
    """Re-evaluate routing of parked results, with the current routes.

    Without ids and options, of all of them. With ids or --all, the exit status is 1 if any stays parked. --dry-run
    shows the routes and handlers that they would go to.
    """
    settings = settings_from(path)
    with opened_store(settings) as store:
        if selection.bare:
            _reroute_all(store, settings, as_json=selection.as_json)
            return
        changes = row_changes.RowChanges(store, settings)
        targets: dict[int, str] = {}

        def change(ids: Sequence[int]) -> Changed:
            changed = changes.reroute_parked(ids, dry_run=selection.dry_run)
            targets.update(
                (row, f"goes to {', '.join(f'{each.route}/{each.handler}' for each in found)}")
                for row, found in changed.targets.items()
            )
            return changed

        show = partial(_show, reasons=targets)
        parked_results = parked.ParkedResults(store.database)
        carry_out(REROUTE, selection, parked_results, change=change, show=show, preview=change)


def _reroute_all(store: SqlStore, settings: Settings, *, as_json: bool) -> None:
    correlation = settings.correlation_rules().for_recorded()
    decide = routing.decider(settings.rules(), correlation, now=clock.now(), wait_over=True)
    examined, deliveries = parked.reroute_parked(store.database, decide, at=clock.now())
    if as_json:
        print_json({"examined": examined, "deliveries": deliveries})
    else:
        click.echo(f"examined {examined} parked results, created {deliveries} deliveries")


@results.command("drop", short_help="Let parked results go to no handler.", epilog=examples(EXAMPLES, "drop"))
@selection_options(DROP)
@config_option
def drop(*, selection: Selection, path: Path | None) -> None:
    """Let parked results go to no handler; they are deleted when store.retention is over. --all asks first."""
    settings = settings_from(path)
    with opened_store(settings) as store:

        def show(page: Sequence[StoredResult]) -> None:
            _show(page, explanations.parked_reasons(queries.Queries(store.database), settings.rules(), page))

        carry_out(
            DROP,
            selection,
            parked.ParkedResults(store.database),
            change=row_changes.RowChanges(store, settings).drop_parked,
            show=show,
        )
