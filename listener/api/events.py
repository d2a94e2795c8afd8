"""``/v1/events``: follow what is recorded, finished and settled, as server-sent events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from listener.api.context import ApiContext
from listener.api.parameters import PointInTime, QueryBool, Text
from listener.core.errors import UsageError
from listener.core.model import ResultStatus
from listener.store.event_feed import FeedFilter
from listener.store.feed_events import EventName
from listener.store.feed_position import CURSOR_PATTERN

#: No cache and no buffer of a proxy holds events back.
HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

#: Of a parameter, which may be empty.
CURSOR: Final[dict[str, Any]] = {"pattern": f"^({CURSOR_PATTERN})?$"}


class EventDocument(BaseModel):
    """The data of an event. Fields that its kind does not have are empty."""

    event: EventName
    at: datetime = Field(description="When it was written, by the clock of whoever wrote it")
    id: int = Field(description="The number of the row of the result, job or delivery")
    job_id: str = Field(description="What the result is about: a job, or a run, a medium or an event")
    reference: str
    function: str
    state: str = Field(description="Of the result, the job or the delivery", examples=["Success", "done"])
    status: str = Field(
        description="Of a result: what recording it led to", json_schema_extra={"enum": ["", *ResultStatus]}
    )
    routes: list[str] = Field(description="That the result was routed to; of a delivery its own")
    handler: str
    attempt: int | None = Field(description="Null if a delivery became a dead letter without one")
    seconds: float | None = Field(description="How long an attempt took that failed, or followed a failure")
    error: str
    cursor: str = Field(
        description="Begin after this event with it; it is the event's id, too",
        json_schema_extra={"pattern": f"^{CURSOR_PATTERN}$"},
    )


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


class _Events:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def follow_events(
        self,
        event: Annotated[EventName | None, Query(description="Only these events")] = None,
        route: Annotated[Text, Query(description="Only of this route")] = "",
        function: Annotated[Text, Query(description="Only of this function, in any case")] = "",
        state: Annotated[
            Text, Query(description="Only in this state, e.g. `Fail` or `dead`, in any case")
        ] = "",
        since: Annotated[
            PointInTime | None,
            Query(description="Begin at this time, with its time zone (RFC 3339), or how long ago"),
        ] = None,
        after: Annotated[
            Text, Query(description="Begin after the event with this cursor", json_schema_extra=CURSOR)
        ] = "",
        follow: Annotated[
            QueryBool, Query(description="Wait for further events; otherwise the answer ends")
        ] = True,
        last_event_id: Annotated[
            Text, Header(description="As `after`; EventSource sends it", json_schema_extra=CURSOR)
        ] = "",
    ) -> EventStream:
        """Follow what is recorded, finished and settled, as server-sent events.

        Begins with what happens next, unless a time or a cursor is given. A client that connects again with the id of
        the last event misses nothing, whichever process does it, as long as the rows are retained.
        """
        wanted = FeedFilter(event=event or "", route=route, function=function, state=state)
        try:
            position = await self._context.feed.start(cursor=last_event_id or after, since=since)
        except UsageError as error:  # about the cursor
            raise UsageError(str(error), field="last-event-id" if last_event_id else "after") from error
        return EventStream(self._context.feed.stream(position, wanted, follow=follow), headers=HEADERS)


def router(context: ApiContext) -> APIRouter:
    made = APIRouter(prefix="/events", tags=["events"])
    stream = {
        "description": "Events whose data is JSON; the schema is that of each event",
        "content": {EventStream.media_type: {"schema": _event_schema()}},
    }
    made.add_api_route(
        "", _Events(context).follow_events, response_class=EventStream, responses={200: stream}
    )
    return made


def _event_schema() -> dict[str, Any]:
    """Of the fields of a server-sent event, as a client reads them: the data is text that contains JSON."""
    data = EventDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    del data["$defs"]  # the parameter has put the names of events into the components
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    name = {"$ref": "#/components/schemas/EventName"}
    properties = {"id": {"type": "string", "description": "Its cursor"}, "event": name, "data": text}
    return {"type": "object", "required": list(properties), "properties": properties}
