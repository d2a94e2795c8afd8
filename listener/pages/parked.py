"""Parked results, which no route matches: why, and route or drop them."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from listener.core.errors import NotFound
from listener.explanations import parked_reasons, reasons_of
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import row_id
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.parked import ParkedResults
from listener.store.queries import Queries


def list_parked(visit: Visit) -> Response:
    form = filter_form.read_query(visit, *FILTERS)
    database, rules = visit.context.store.database, visit.context.settings.rules()
    page = ParkedResults(database).page(filters=form.filters, before=form.before, limit=filter_form.PAGE)
    return visit.render(
        "parked.html",
        results=page,
        reasons=parked_reasons(Queries(database), rules, page),
        form=form,
        choices=filter_form.choices_of(visit.context.settings),
        next_page=form.next_page(PATH, [stored.id for stored in page]),
        actions=ACTIONS,
    )


def show_parked(visit: Visit) -> Response:
    wanted, database = row_id(visit.asked("id")), visit.context.store.database
    stored = ParkedResults(database).find(wanted)
    if stored is None:
        raise NotFound(f"no parked result has the id {wanted}; it may have been routed, dropped or deleted")
    reasons = reasons_of(Queries(database), visit.context.settings.rules(), stored)
    return visit.render("parked_result.html", stored=stored, reasons=reasons, actions=ACTIONS)


PATH: Final = "/parked"
#: A parked result has no delivery, so no route.
FILTERS: Final = tuple(name for name in filter_form.ALL if name != "route")
ACTIONS: Final = (
    BulkAction(
        verb="route",
        done="routed",
        what="parked results",
        effect="Each goes to the handlers that the current routes name; one that no route matches stays parked.",
        area=PATH,
        filters=FILTERS,
        source=ParkedResults,
        change=lambda changes: changes.reroute_parked,
        wakes=True,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="parked results",
        effect="They go to no handler, and are deleted when store.retention is over.",
        area=PATH,
        filters=FILTERS,
        source=ParkedResults,
        change=lambda changes: changes.drop_parked,
        deletes=True,
    ),
)
AREA: Final = Area(
    title="Parked",
    path=PATH,
    routes=(
        PageRoute(path=PATH, view=list_parked),
        PageRoute(path=f"{PATH}/show", view=show_parked),
        *(action.route for action in ACTIONS),
    ),
)
