"""``mns-listener deliveries``: list deliveries that are not settled, retry them now, or cancel them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.api.serialize import delivery_dict, whole_delivery_dict
from listener.cli.common import (
    ROW_ID,
    config_option,
    examples,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_next_page,
    print_one,
    print_table,
    read_page,
    settings_from,
)
from listener.cli.filtering import AnyCase, filter_options
from listener.cli.selection import Action, Selection, carry_out, selection_options
from listener.cli.table import cell_text
from listener.core.errors import NotFound
from listener.core.lazy_imports import lazy_imports
from listener.core.model import Delivery, DeliveryState

with lazy_imports():
    from listener.api import row_changes
    from listener.store import deliveries as stored

if TYPE_CHECKING:
    from listener.store.filters import Filters

RETRY = Action(verb="retry", done="retried", what="pending deliveries")
CANCEL = Action(verb="cancel", done="cancelled", what="pending deliveries", asks=True)

EXAMPLES = {
    "list": (
        "mns-listener deliveries list",
        "mns-listener deliveries list --state done --function Cover --since 2h",
    ),
    "show": ("mns-listener deliveries show 17",),
    "retry": (
        "mns-listener deliveries retry 17 18",
        "mns-listener deliveries retry --all --route captions",
    ),
    "cancel": (
        "mns-listener deliveries cancel 17",
        "mns-listener deliveries cancel --all --route captions --dry-run",
    ),
}


@click.group(epilog=examples(EXAMPLES))
def deliveries() -> None:
    """List deliveries; retry or cancel pending ones."""


@deliveries.command("list", short_help="List deliveries, newest first.", epilog=examples(EXAMPLES, "list"))
@click.option(
    "--state",
    "states",
    multiple=True,
    type=AnyCase([str(state) for state in DeliveryState]),
    help="Only in this state; repeatable.  [default: pending and running]",
)
@filter_options()
@page_options
@config_option
@json_option
def list_deliveries(
    *,
    states: tuple[str, ...],
    filters: Filters,
    before: int | None,
    limit: int,
    path: Path | None,
    as_json: bool,
) -> None:
    """List deliveries, newest first: when each is due, and the error that it waits after."""
    wanted = tuple(map(DeliveryState, states)) or stored.UNSETTLED
    with opened_store(settings_from(path), read_only=True) as store:
        read = partial(stored.Deliveries(store.database).page, states=wanted, filters=filters)
        page, following = read_page(read, before=before, limit=limit, row_id=attrgetter("id"))
    if as_json:
        print_json([delivery_dict(delivery) for delivery in page])
    else:
        _show(page)
    print_next_page(following)


@deliveries.command("show", epilog=examples(EXAMPLES, "show"))
@click.argument("delivery_id", metavar="ID", type=ROW_ID)
@config_option
@json_option
def show_delivery(*, delivery_id: int, path: Path | None, as_json: bool) -> None:
    """Show one delivery, in any state, with its callback."""
    with opened_store(settings_from(path), read_only=True) as store:
        delivery = stored.Deliveries(store.database).find(delivery_id)
    if delivery is None:
        raise NotFound(f"no delivery has the id {delivery_id}; list them with `mns-listener deliveries list`")
    print_one(whole_delivery_dict(delivery), as_json=as_json)


@deliveries.command(
    "retry", short_help="Make pending deliveries due now.", epilog=examples(EXAMPLES, "retry")
)
@selection_options(RETRY)
@config_option
def retry(*, selection: Selection, path: Path | None) -> None:
    """Make pending deliveries due now; the daemon runs them within a second.

    Attempts and failures stay as they are. Dead letters are replayed instead: see `mns-listener dead-letters replay`.
    """
    settings = settings_from(path)
    with opened_store(settings) as store:
        carry_out(
            RETRY,
            selection,
            stored.PendingDeliveries(store.database),
            change=row_changes.RowChanges(store, settings).retry_deliveries,
            show=_show,
        )


@deliveries.command(
    "cancel", short_help="Make pending deliveries dead letters.", epilog=examples(EXAMPLES, "cancel")
)
@selection_options(CANCEL)
@config_option
def cancel(*, selection: Selection, path: Path | None) -> None:
    """Make pending deliveries dead letters, which can be replayed or dropped. --all asks first.

    A running delivery cannot be cancelled: its handler may be doing its work already.
    """
    settings = settings_from(path)
    with opened_store(settings) as store:
        carry_out(
            CANCEL,
            selection,
            stored.PendingDeliveries(store.database),
            change=row_changes.RowChanges(store, settings).cancel_deliveries,
            show=_show,
        )


def _show(page: Sequence[Delivery]) -> None:
    columns = ("id", "job", "result", "route", "handler", "state", "attempts", "failures", "due", "reason")
    print_table(columns, list(map(_row, page)), empty="no deliveries", whole=("id", "job"))


def _row(delivery: Delivery) -> tuple[Any, ...]:
    lease = f"lease of {delivery.owner} until {cell_text(delivery.lease_until)}"
    return (
        delivery.id,
        delivery.result.subject,
        delivery.result.state,
        delivery.target.route,
        delivery.target.handler,
        delivery.state,
        delivery.attempt,
        delivery.failures,
        delivery.due_at,
        lease if delivery.state is DeliveryState.RUNNING else delivery.last_error or _offered(delivery),
    )


def _offered(delivery: Delivery) -> str:
    offered = delivery.state is DeliveryState.PENDING and delivery.pull_at is not None
    return "applications may pull it" if offered else ""
