"""Deliveries that are not settled: when each is due and what it waits after; retry now, or cancel."""

from __future__ import annotations

from typing import Final

from listener.core.model import Delivery, DeliveryState
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm
from listener.pages.jobs import address_of
from listener.pages.row_list import Column, Row, RowList, delivery_row
from listener.pages.visit import Visit
from listener.store.deliveries import Deliveries, PendingDeliveries
from listener.store.searching import Page

PATH: Final = "/deliveries"
ACTIONS: Final = (
    BulkAction(
        verb="retry",
        done="retried",
        what="pending deliveries",
        effect="They are due now; attempts and failures stay as they are.",
        area=PATH,
        filters=filter_form.ALL,
        source=PendingDeliveries,
        change=lambda changes: changes.retry_deliveries,
        wakes=True,
    ),
    BulkAction(
        verb="cancel",
        done="cancelled",
        what="pending deliveries",
        effect="They become dead letters, which can be replayed or dropped.",
        area=PATH,
        filters=filter_form.ALL,
        source=PendingDeliveries,
        change=lambda changes: changes.cancel_deliveries,
        deletes=True,
    ),
)


def _read(visit: Visit, form: FilterForm) -> Page[Row]:
    deliveries = Deliveries(visit.context.store.database)
    page = deliveries.page(filters=form.filters, before=form.before, limit=filter_form.PAGE)
    return page.of(map(_row, page))


def _row(delivery: Delivery) -> Row:
    return delivery_row(
        delivery,
        shown=delivery.state,
        at=delivery.next_at,
        link=address_of(delivery.result.subject),
        selectable=delivery.state is DeliveryState.PENDING,
    )


DELIVERIES: Final = RowList(
    title="Deliveries",
    path=PATH,
    what="delivery",
    caption="Deliveries that are not settled",
    hint="Results that are pending or running at a handler. A running one cannot be retried or cancelled.",
    columns=(
        Column("State"),
        Column("Route and handler"),
        Column("Attempts", "num"),
        Column("Due"),
        Column("Last error", "reason"),
    ),
    read=_read,
    filters=filter_form.ALL,
    actions=ACTIONS,
    unmatched="No deliveries match.",
    empty=("Nothing is pending.", "Every delivery has been settled."),
)
AREA: Final = DELIVERIES.area
