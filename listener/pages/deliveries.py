"""Deliveries that are not settled: when each is due and what it waits after; retry now, or cancel."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.deliveries import Deliveries, PendingDeliveries


def list_deliveries(visit: Visit) -> Response:
    form = filter_form.read_query(visit, *filter_form.ALL)
    page = Deliveries(visit.context.store.database).page(
        filters=form.filters, before=form.before, limit=filter_form.PAGE
    )
    return visit.render(
        "deliveries.html",
        deliveries=page,
        form=form,
        choices=filter_form.choices_of(visit.context.settings),
        next_page=form.next_page(PATH, [each.id for each in page]),
        actions=ACTIONS,
    )


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
AREA: Final = Area(
    title="Deliveries",
    path=PATH,
    routes=(PageRoute(path=PATH, view=list_deliveries), *(action.route for action in ACTIONS)),
)
