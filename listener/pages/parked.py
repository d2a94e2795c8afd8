"""Parked results, which no route matches: why, and route or drop them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from listener.explanations import parked_reasons, reasons_of
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm
from listener.pages.rendering import ago, state, text
from listener.pages.row_list import Column, Detail, Row, RowList
from listener.pages.visit import Visit
from listener.store.parked import ParkedResults
from listener.store.queries import Queries, StoredResult
from listener.store.searching import Page

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


def _read(visit: Visit, form: FilterForm) -> Page[Row]:
    database, rules = visit.context.store.database, visit.context.settings.rules()
    page = ParkedResults(database).page(filters=form.filters, before=form.before, limit=filter_form.PAGE)
    reasons = parked_reasons(Queries(database), rules, page)
    return page.of(_row(stored, reasons[stored.id]) for stored in page)


def _row(stored: StoredResult, why: str) -> Row:
    return Row(
        id=stored.id,
        name=stored.result.subject,
        link=f"{PATH}/show?id={stored.id}",
        sub=stored.result.function or stored.result.type,
        cells=(state(stored.result.state), text(stored.queue), ago(stored.received_at), why),
    )


def _find(visit: Visit, wanted: int) -> Mapping[str, Any] | None:
    database = visit.context.store.database
    stored = ParkedResults(database).find(wanted)
    if stored is None:
        return None
    reasons = reasons_of(Queries(database), visit.context.settings.rules(), stored)
    return {"stored": stored, "reasons": reasons}


PARKED: Final = RowList(
    title="Parked",
    heading="Parked results",
    path=PATH,
    what="result",
    caption="Parked results",
    hint="Results that no route matches. Change the routes, then route them again.",
    columns=(Column("Result"), Column("Queue"), Column("Received"), Column("Nearest route", "reason")),
    read=_read,
    filters=FILTERS,
    actions=ACTIONS,
    unmatched="No parked results match.",
    empty=("Nothing is parked.", "Every result was matched by a route."),
    detail=Detail(
        template="parked_result.html",
        find=_find,
        missing="no parked result has the id {id}; it may have been routed, dropped or deleted",
    ),
)
AREA: Final = PARKED.area
