"""Lists of rows that can be acted on: filters, a page of rows with check boxes, one row, and actions on many.

Each list is a ``RowList``; ``rows.html`` shows all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response

from listener.core.errors import NotFound
from listener.core.model import Delivery, Target
from listener.formats.unicode_text import shortened
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm, row_id
from listener.pages.rendering import ago, number, state, text
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.searching import Page

#: How many characters of a reason or an error a row shows.
MAX_REASON: Final = 160


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    style: str = ""  #: ``num`` or ``reason``


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one row shows: its name with a link, and a cell for each column."""

    id: int
    name: str
    link: str
    cells: Sequence[Any]  #: as they are shown
    sub: str = ""  #: below its name
    selectable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The page of one row."""

    template: str
    #: What the template shows of the row with this id; None if there is none.
    find: Callable[[Visit, int], Mapping[str, Any] | None]
    missing: str  #: what it says then, with the id in the place of ``{id}``


@dataclass(frozen=True, slots=True, kw_only=True)
class RowList:
    """Everything that is known about one list."""

    title: str
    path: str
    heading: str = ""  #: instead of the title, which is also the entry in the navigation
    what: str  #: one row, in words
    caption: str  #: what is listed, for those who do not see it
    named: str = "Job"  #: what the names of the rows are
    columns: Sequence[Column]
    read: Callable[[Visit, FilterForm], Page[Row]]
    filters: Sequence[str]
    actions: Sequence[BulkAction]
    unmatched: str  #: what a list says that is empty because of its filters
    empty: tuple[str, str]  #: and one that is empty without filters
    hint: str = ""
    detail: Detail | None = None

    @property
    def area(self) -> Area:
        shown = [PageRoute(path=f"{self.path}/show", view=self.show)] if self.detail else []
        return Area(
            title=self.title,
            path=self.path,
            routes=(
                PageRoute(path=self.path, view=self.list),
                *shown,
                *(action.route for action in self.actions),
            ),
        )

    def list(self, visit: Visit) -> Response:
        form = filter_form.read_query(visit, *self.filters)
        rows = self.read(visit, form)
        return visit.render(
            "rows.html",
            listed=self,
            rows=rows,
            full=filter_form.PAGE,
            form=form,
            choices=filter_form.choices_of(visit.context.settings),
            next_page=form.next_page(self.path, rows),
        )

    def show(self, visit: Visit) -> Response:
        assert self.detail
        wanted = row_id(visit.asked("id"))
        values = self.detail.find(visit, wanted)
        if values is None:
            raise NotFound(self.detail.missing.format(id=wanted))
        return visit.render(self.detail.template, actions=self.actions, **values)


def reason(words: str) -> Any:
    """The cell of a reason or an error."""
    return text(shortened(words, MAX_REASON))


def delivery_row(
    delivery: Delivery, *, shown: str, at: datetime | None, link: str, selectable: bool = True
) -> Row:
    """The row of a delivery with a state that is shown and the time that matters about it."""
    return Row(
        id=delivery.id,
        name=delivery.result.subject,
        link=link,
        sub=delivery.result.function,
        cells=(
            state(shown),
            handler_of(delivery.target),
            number(delivery.attempt),
            ago(at),
            reason(delivery.last_error),
        ),
        selectable=selectable,
    )


def handler_of(target: Target) -> Any:
    """The cell of a route and one of its handlers."""
    return text(target.route) + " / " + text(target.handler)
