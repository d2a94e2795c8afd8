"""Parameters that several operations have: names, pages, filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from listener.core import clock
from listener.core.errors import UsageError
from listener.formats.durations import Duration
from listener.formats.points_in_time import parse_point_in_time
from listener.formats.states import KNOWN_STATES, known_state
from listener.formats.unicode_text import storable
from listener.store.filters import Filters


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("contains a NUL character or a lone surrogate")
    return text


def _whole(given: object) -> object:
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _point_in_time(given: object) -> datetime:
    return parse_point_in_time(str(given), now=clock.now())


#: What ``formats.durations`` reads, as far as it can be said by a pattern.
_DURATION: Final = {
    "type": "string",
    "minLength": 1,
    "pattern": r"^(([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?([0-9]{1,9}ms)?|[0-9]{1,8}(\.[0-9]+)?)$",
}
#: A duration in a JSON body.
DurationText = Annotated[
    Duration,
    WithJsonSchema({"anyOf": [_DURATION, {"type": "number", "minimum": 0, "maximum": 315_360_000}]}),
    Field(examples=["30m", 1800]),
]
#: Text that every database takes.
Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})]
#: Every client can read so large a number exactly.
RowId = Annotated[int, Field(ge=1, le=2**53 - 1)]
#: In a JSON body: the text "1" is none, and 1.0 is one.
StrictRowId = Annotated[RowId, Strict(), BeforeValidator(_whole)]
PointInTime = Annotated[
    datetime,
    BeforeValidator(_point_in_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, _DURATION]}),
    Field(examples=["2h", "2026-05-01T08:30:00Z"]),
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


def _state(given: str) -> str:
    known = known_state(given) if given else ""
    if known is None:
        raise ValueError(f"is not a known state; use one of {', '.join(KNOWN_STATES)}")
    return known


Function = Annotated[Text, Field(description="Only of this function, e.g. `Cover`, in any case")]
Kind = Annotated[
    Text, Field(description="Only of jobs of this kind, e.g. `Transcode`, or of events of this type")
]
Route = Annotated[Text, Field(description="Only with a delivery of this route")]
Reference = Annotated[
    Text, Field(description="Only of the job with this reference; `talk-*` for all that begin so")
]
Queue = Annotated[Text, Field(description="Only what came from this queue, by its name in the settings")]
ResultState = Annotated[
    Text,
    AfterValidator(_state),
    WithJsonSchema({"type": "string", "enum": ["", *KNOWN_STATES]}),
    Field(description="Only with a result of this state"),
]
Since = Annotated[
    PointInTime | None, Field(description="Only from this time on: ISO 8601, or how long ago, e.g. `2h`")
]
Until = Annotated[PointInTime | None, Field(description="Only before this time")]


class FilterFields(BaseModel):
    """What a list, or an action on all rows, is narrowed to."""

    model_config = ConfigDict(extra="forbid")

    function: Function = ""
    kind: Kind = ""
    route: Route = ""
    reference: Reference = ""
    queue: Queue = ""
    result_state: ResultState = ""
    since: Since = None
    until: Until = None

    @property
    def filters(self) -> Filters:
        return Filters(**{name: getattr(self, name) for name in FilterFields.model_fields})


class TimeFields(BaseModel):
    """The same for messages in quarantine, of which nothing else is known."""

    model_config = ConfigDict(extra="forbid")

    queue: Queue = ""
    since: Since = None
    until: Until = None

    @property
    def filters(self) -> Filters:
        return Filters(queue=self.queue, since=self.since, until=self.until)


def _filters(
    function: Function = "",
    kind: Kind = "",
    route: Route = "",
    reference: Reference = "",
    queue: Queue = "",
    result_state: ResultState = "",
    since: Since = None,
    until: Until = None,
) -> Filters:
    return Filters(
        function=function,
        kind=kind,
        route=route,
        reference=reference,
        queue=queue,
        result_state=result_state,
        since=since,
        until=until,
    )


def _time_filters(queue: Queue = "", since: Since = None, until: Until = None) -> Filters:
    return Filters(queue=queue, since=since, until=until)


async def refuse_unknown_parameters(request: Request) -> None:
    """Raises UsageError for a parameter in the query that the document of the API does not have for the operation.

    A misspelled filter would otherwise answer with everything.
    """
    if not request.query_params:
        return
    known = _query_parameters(request.app.openapi(), operation=request.scope["route"].name)
    for name in request.query_params:
        if name not in known:
            raise UsageError(
                f"{name!r} is not a parameter of this operation",
                field=name,
                hint=f"known parameters: {', '.join(known)}"
                if known
                else "it has no parameters in the query",
            )


def _query_parameters(document: Mapping[str, Any], *, operation: str) -> Sequence[str]:
    """The names of those of the operation with this id."""
    return [
        parameter["name"]
        for path in document["paths"].values()
        for each in path.values()
        if each["operationId"] == operation
        for parameter in each.get("parameters", ())
        if parameter["in"] == "query"
    ]


PageQuery = Annotated[Page, Depends(page)]
FiltersQuery = Annotated[Filters, Depends(_filters)]
TimesQuery = Annotated[Filters, Depends(_time_filters)]


#: Of the member ``next`` of a page.
NEXT_PAGE: Final = (
    "The `before` of the following page; null at the end. A page may have fewer rows than its limit, or none, "
    "although others follow: with filters, only so many rows are looked at for each page"
)
