"""Parameters that several operations have: names, pages, filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from listener.core import clock
from listener.formats.points_in_time import parse_point_in_time
from listener.formats.unicode_text import storable
from listener.store.filters import Filters


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("contains a NUL character or a lone surrogate")
    return text


def _point_in_time(given: object) -> datetime:
    return parse_point_in_time(str(given), now=clock.now())


#: Text that every database takes.
Text = Annotated[str, AfterValidator(_storable)]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
PointInTime = Annotated[
    datetime,
    BeforeValidator(_point_in_time),
    WithJsonSchema({"type": "string", "examples": ["2h", "2026-05-01T08:30:00Z"]}),
]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a listing, newest first."""

    before: int
    limit: int


def page(
    before: Annotated[
        RowId | None, Query(description="Continue after the row with this id: `next` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The most rows of a page")] = 50,
) -> Page:
    return Page(before or 0, limit)


def filters(
    function: Annotated[Text, Query(description="Only of this function, e.g. `Cover`, in any case")] = "",
    route: Annotated[Text, Query(description="Only with a delivery of this route")] = "",
    reference: Annotated[
        Text, Query(description="Only of the job with this reference; `talk-*` for all that begin so")
    ] = "",
    since: Annotated[
        PointInTime | None, Query(description="Only from this time on: ISO 8601, or how long ago")
    ] = None,
    until: Annotated[PointInTime | None, Query(description="Only before this time")] = None,
) -> Filters:
    return Filters(function=function, route=route, reference=reference, since=since, until=until)


PageQuery = Annotated[Page, Depends(page)]
FiltersQuery = Annotated[Filters, Depends(filters)]


def next_page(rows: list[dict[str, Any]]) -> int | None:
    """The ``before`` of the page that follows these rows; None at the end.

    A page may be shorter than its limit although others follow: rows that cannot be read are left out.
    """
    return rows[-1]["id"] if rows else None
