"""Parameters that several operations have: names, pages, filters."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from listener.core import clock
from listener.core.errors import UsageError
from listener.formats.durations import to_duration
from listener.formats.points_in_time import parse_date_time
from listener.formats.states import KNOWN_STATES
from listener.formats.unicode_text import shortened, storable
from listener.store.filters import Filters

#: What ``formats.durations`` reads, as far as a pattern can say it. All that match are shorter than MAX_DURATION.
_DURATION: Final = {
    "type": "string",
    "minLength": 1,
    "pattern": "^("
    + "".join(
        rf"([0-9]{{1,{digits}}}(\.[0-9]+)?{unit})?"
        for unit, digits in (("d", 3), ("h", 4), ("m", 5), ("s", 7), ("ms", 9))
    )
    + r"|[0-9]{1,8}(\.[0-9]+)?)$",
}
_DURATION_TEXT: Final = re.compile(str(_DURATION["pattern"]).removesuffix("$"))
#: Python's own readers take more, such as 1_0 and blanks around it.
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "false": False}
IDEMPOTENCY_KEY: Final = "idempotency-key"
#: How much of a rejected value an error repeats.
_SHOWN: Final = 80


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("contains a NUL character or a lone surrogate")
    return text


def _object_or_text(given: object) -> object:
    """In place of a union, whose errors have the names of its types in their field."""
    if isinstance(given, str):
        return _storable(given)
    if not isinstance(given, dict):
        raise ValueError("is neither an object nor text")
    if not _only_json(given):
        raise ValueError("contains a number that JSON does not have, such as NaN")
    return given


def _only_json(given: object) -> bool:
    """Whether JSON has every number in it: Python reads NaN and Infinity, too. However deeply it is nested."""
    left = [given]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
        elif isinstance(each, float) and not isfinite(each):
            return False
    return True


def whole_number(given: object) -> object:
    """In JSON, 1.0 is an integer, too."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _number(given: object) -> object:
    if isinstance(given, str) and not _NUMBER.fullmatch(given):
        raise ValueError("is not a number; use digits, as in 20 or 0.5")
    return given


def _boolean(given: object) -> object:
    if isinstance(given, str) and given not in _BOOLEANS:
        raise ValueError("is neither true nor false")
    return _BOOLEANS[given] if isinstance(given, str) else given


def _duration(given: object) -> timedelta:
    """Settings may be written in more ways, such as with blanks."""
    found = to_duration(given)
    if isinstance(given, str) and not _DURATION_TEXT.fullmatch(given):
        raise ValueError(
            f"{shown(given)} is not a valid duration here; use digits and units without blanks, the longest unit "
            "first, as in 1h30m, at most 999d"
        )
    return found


def _point_in_time(given: object) -> datetime:
    if not isinstance(given, str):
        raise ValueError('is not a text; put the time or the duration in quotes, as in "2h"')
    if given and _DURATION_TEXT.fullmatch(given):
        return clock.now() - to_duration(given)
    found = parse_date_time(given)
    if found is None:
        raise ValueError(
            f"{shown(given)} is neither a duration such as 2h nor a time with its zone such as 2026-05-01T08:30:00Z "
            "or 2026-05-01T16:30:00+08:00, whose + is %2B in a query"
        )
    return found


def shown(given: str) -> str:
    return shortened(repr(given), _SHOWN)


#: A duration in a JSON body.
DurationText = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"anyOf": [_DURATION, {"type": "number", "minimum": 0, "maximum": 315_360_000}]}),
    Field(examples=["30m", 1800]),
]
#: Text that every database takes.
_TEXT: Final = {"pattern": r"^[^\u0000]*$"}
Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={**_TEXT})]
ObjectOrText = Annotated[
    dict[str, Any] | str,
    PlainValidator(_object_or_text),
    WithJsonSchema(
        {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "string", **_TEXT}]}
    ),
]
#: Of numbers and booleans in a query: written as in JSON.
Digits: Final = BeforeValidator(_number)
QueryBool = Annotated[bool, BeforeValidator(_boolean)]
#: Every client can read so large a number exactly.
_ROW_ID: Final = Field(ge=1, le=2**53 - 1)
RowId = Annotated[int, _ROW_ID, Digits]
#: In a JSON body: the text "1" is none, and 1.0 is one.
StrictRowId = Annotated[int, _ROW_ID, Strict(), BeforeValidator(whole_number)]
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
    limit: Annotated[int, Query(ge=1, le=1000, description="The most rows of a page"), Digits] = 50,
) -> Page:
    return Page(before or 0, limit)


def _state(given: str) -> str:
    if given and given not in KNOWN_STATES:
        raise ValueError(f"is not a known state; use one of {', '.join(KNOWN_STATES)}")
    return given


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
    PointInTime | None,
    Field(description="Only from this time on, with its time zone (RFC 3339), or how long ago, e.g. `2h`"),
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
    """Raises UsageError for a parameter in the query that the operation does not have, or that is given more often than
    once although it is no list.

    The same for headers and members of the body that count once.

    A misspelled filter would otherwise answer with everything, and of two values, one would not count.
    """
    _refuse_two_keys(request)
    if request.scope["route"].dependant.body_params:
        _refuse_repeated_members(await request.body())
    if not request.query_params:
        return
    known = dict(_query_parameters(request.scope["route"].dependant))
    for name in request.query_params:
        if len(request.query_params.getlist(name)) > 1 and not known.get(name, True):
            raise UsageError(f"{name!r} is given more than once", field=name, hint="send one value of it")
        if name not in known:
            raise UsageError(
                f"{name!r} is not a parameter of this operation",
                field=name,
                hint=f"known parameters: {', '.join(known)}"
                if known
                else "it has no parameters in the query",
            )


def _refuse_two_keys(request: Request) -> None:
    if len(set(request.headers.getlist(IDEMPOTENCY_KEY))) > 1:
        raise UsageError(
            "the header Idempotency-Key is given more than once",
            field=IDEMPOTENCY_KEY,
            hint="send one of them",
        )


def _refuse_repeated_members(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=unique_members)
    except RepeatedMember as error:
        raise UsageError(str(error), field=error.name, hint="send one of them") from error
    except (ValueError, RecursionError):
        return  # it is not JSON, or was not sent as JSON: the framework says so


def unique_members(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object in a body. Raises RepeatedMember: of two values, one would not count."""
    found = dict(members)
    if len(found) != len(members):
        counts = Counter(name for name, _ in members)
        raise RepeatedMember(counts.most_common(1)[0][0])
    return found


class RepeatedMember(ValueError):
    """An object in a body has a member more than once."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the body has {name!r} more than once in an object")
        self.name = name


def _query_parameters(operation: Dependant) -> Iterator[tuple[str, bool]]:
    """The names that it takes, and whether they may be repeated. The document of the API has them too, but takes long
    to make."""
    for parameter in operation.query_params:
        yield parameter.alias, _is_list(parameter.field_info.annotation)
    for dependency in operation.dependencies:
        yield from _query_parameters(dependency)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))


PageQuery = Annotated[Page, Depends(page)]
FiltersQuery = Annotated[Filters, Depends(_filters)]
TimesQuery = Annotated[Filters, Depends(_time_filters)]


#: Of the member ``next`` of a page.
NEXT_PAGE: Final = (
    "The `before` of the following page; null at the end. A page may have fewer rows than its limit, or none, "
    "although others follow: with filters, only so many rows are looked at for each page"
)
