"""Dead letters: a list with filters, one dead letter, replay and drop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from listener.core.model import Delivery
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm
from listener.pages.row_list import Column, Detail, Row, RowList, delivery_row
from listener.pages.visit import Visit
from listener.store.dead_letters import DeadLetters
from listener.store.searching import Page

PATH: Final = "/dead-letters"
ACTIONS: Final = (
    BulkAction(
        verb="replay",
        done="replayed",
        what="dead letters",
        effect="They become pending again with all their attempts, at the handlers that the current routes name.",
        area=PATH,
        filters=filter_form.ALL,
        source=DeadLetters,
        change=lambda changes: changes.replay_dead_letters,
        wakes=True,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="dead letters",
        effect="They can no longer be replayed, and are deleted when store.retention is over.",
        area=PATH,
        filters=filter_form.ALL,
        source=DeadLetters,
        change=lambda changes: changes.drop_dead_letters,
        deletes=True,
    ),
)


def _read(visit: Visit, form: FilterForm) -> Page[Row]:
    letters = DeadLetters(visit.context.store.database)
    page = letters.page(filters=form.filters, before=form.before, limit=filter_form.PAGE)
    return page.of(map(_row, page))


def _row(letter: Delivery) -> Row:
    link = f"{PATH}/show?id={letter.id}"
    return delivery_row(letter, shown=letter.result.state, at=letter.settled_at, link=link)


def _find(visit: Visit, wanted: int) -> Mapping[str, Any] | None:
    letter = DeadLetters(visit.context.store.database).find(wanted)
    return {"letter": letter} if letter else None


DEAD_LETTERS: Final = RowList(
    title="Dead letters",
    path=PATH,
    what="dead letter",
    caption="Dead letters",
    columns=(
        Column("Result"),
        Column("Route and handler"),
        Column("Attempts", "num"),
        Column("Failed"),
        Column("Reason", "reason"),
    ),
    read=_read,
    filters=filter_form.ALL,
    actions=ACTIONS,
    unmatched="No dead letters match.",
    empty=("No dead letters.", "Every delivery was handled, or still has attempts left."),
    detail=Detail(
        template="dead_letter.html",
        find=_find,
        missing="no dead letter has the id {id}; it may have been replayed, dropped or deleted",
    ),
)
AREA: Final = DEAD_LETTERS.area
