"""The filters of a list, as its form and its links have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from listener.core import clock
from listener.core.errors import UsageError
from listener.formats.points_in_time import parse_point_in_time
from listener.formats.unicode_text import shortened
from listener.pages.visit import Visit
from listener.settings.sections import Settings
from listener.store.filters import Filters
from listener.store.searching import Page

#: Rows of one page.
PAGE: Final = 50
#: The largest id that a database has.
MAX_ID: Final = 2**63 - 1
TIMES: Final = ("since", "until")
ALL: Final = ("function", "kind", "route", "reference", "queue", "result_state", *TIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterForm:
    """What one list is narrowed to."""

    filters: Filters
    values: Mapping[str, str]  #: the fields as they were given, with those of the list itself
    before: int  #: the last id of the previous page; 0 on the first page

    @property
    def given(self) -> bool:
        """Whether anything narrows the list."""
        return any(self.values.values())

    def link(self, path: str, *, before: int = 0) -> str:
        """The address of the same list, from this row on."""
        fields = {name: value for name, value in self.values.items() if value}
        query = urlencode(fields | ({"before": str(before)} if before else {}))
        return f"{path}?{query}" if query else path

    def next_page(self, path: str, page: Page[Any]) -> str:
        """The address of the page that follows this one; empty if this one is the last."""
        return self.link(path, before=page.next) if page.next else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The names that the settings give to what a list can be narrowed to."""

    routes: Sequence[str]
    queues: Sequence[str]


def choices_of(settings: Settings) -> Choices:
    return Choices(
        routes=[route.name for route in settings.routes], queues=[queue.label for queue in settings.queues]
    )


def read_query(visit: Visit, *names: str, own: Sequence[str] = ()) -> FilterForm:
    """The filters in the address; ``names`` are those that the list has, ``own`` its other fields."""
    return _read({name: visit.asked(name) for name in (*names, *own)}, names, before=visit.asked("before"))


def read_form(visit: Visit, *names: str, own: Sequence[str] = ()) -> FilterForm:
    """The same of a form that was sent."""
    return _read({name: visit.given(name) for name in (*names, *own)}, names, before="")


def row_id(text: str) -> int:
    """The id of a row. Raises UsageError."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_ID)) or not 0 < int(text) <= MAX_ID:
        raise UsageError(f"{text[:40]!r} is not a valid id")
    return int(text)


def _read(values: Mapping[str, str], names: Sequence[str], *, before: str) -> FilterForm:
    given: dict[str, Any] = {
        name: _point_in_time(values[name]) if name in TIMES else values[name] for name in names
    }
    return FilterForm(
        filters=Filters(**given),
        values=values,
        before=row_id(before) if before else 0,
    )


def _point_in_time(text: str) -> datetime | None:
    """An ISO 8601 time, in UTC unless it says otherwise, or how long ago. Raises UsageError."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return parse_point_in_time(text, now=clock.now())
        except ValueError as error:
            raise UsageError(shortened(str(error), 200)) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
