"""Quarantine: messages that could not be decoded, or that MPS did not confirm; retry and drop."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from listener.core.errors import NotFound
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import row_id
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.quarantined_messages import QuarantinedMessages


def list_quarantined(visit: Visit) -> Response:
    form = filter_form.read_query(visit, *FILTERS)
    page = QuarantinedMessages(visit.context.store.database).page(
        filters=form.filters, before=form.before, limit=filter_form.PAGE
    )
    return visit.render(
        "quarantine.html",
        entries=page,
        form=form,
        choices=filter_form.choices_of(visit.context.settings),
        next_page=form.next_page(PATH, [entry.id for entry in page]),
        actions=ACTIONS,
    )


def show_quarantined(visit: Visit) -> Response:
    wanted = row_id(visit.asked("id"))
    entry = QuarantinedMessages(visit.context.store.database).find(wanted)
    if entry is None:
        raise NotFound(f"no message in quarantine has the id {wanted}; it may have been retried or dropped")
    return visit.render("quarantined.html", entry=entry, actions=ACTIONS)


PATH: Final = "/quarantine"
#: Nothing else is known of a message that could not be decoded.
FILTERS: Final = ("queue", *filter_form.TIMES)
ACTIONS: Final = (
    BulkAction(
        verb="retry",
        done="retried",
        what="quarantined messages",
        effect="They are decoded again, and their results are recorded by the current routes.",
        area=PATH,
        filters=FILTERS,
        source=QuarantinedMessages,
        change=lambda changes: changes.retry_quarantined,
        wakes=True,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="quarantined messages",
        effect="They are deleted permanently.",
        area=PATH,
        filters=FILTERS,
        source=QuarantinedMessages,
        change=lambda changes: changes.drop_quarantined,
        deletes=True,
    ),
)
AREA: Final = Area(
    title="Quarantine",
    path=PATH,
    routes=(
        PageRoute(path=PATH, view=list_quarantined),
        PageRoute(path=f"{PATH}/show", view=show_quarantined),
        *(action.route for action in ACTIONS),
    ),
)
