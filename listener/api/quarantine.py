"""``/v1/quarantine``: messages that could not be decoded, and callbacks that MPS did not confirm."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from listener.api.bulk import BulkAction
from listener.api.context import ApiContext
from listener.api.parameters import NEXT_PAGE, PageQuery, RowId, TimeFields, TimesQuery
from listener.api.problems import documented
from listener.api.serialize import quarantined_dict
from listener.core.errors import NotFound
from listener.store.quarantined_messages import QuarantinedMessages


class QuarantinedDocument(BaseModel):
    """A message, verbatim."""

    id: int
    queue: str
    message_id: str
    reason: str
    enqueued_at: datetime | None
    received_at: datetime
    dequeue_count: int
    copies: int = Field(description="How often it has arrived")
    body: str


class QuarantinePage(BaseModel):
    messages: list[QuarantinedDocument]
    next: int | None = Field(description=NEXT_PAGE)


ACTIONS: Final = (
    BulkAction(
        name="retry_quarantined",
        verb="retry",
        done="retried",
        what="quarantined messages",
        description="They are decoded again, e.g. after an upgrade, and recorded by the current routes. One that still "
        "cannot be decoded or recorded is refused, and stays.",
        source=QuarantinedMessages,
        change=lambda changes: changes.retry_quarantined,
        fields=TimeFields,
        wakes=True,
    ),
    BulkAction(
        name="drop_quarantined",
        verb="drop",
        done="dropped",
        what="quarantined messages",
        description="They are deleted permanently.",
        source=QuarantinedMessages,
        change=lambda changes: changes.drop_quarantined,
        fields=TimeFields,
    ),
)


class _Quarantine:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list_quarantined(self, filters: TimesQuery, page: PageQuery) -> dict[str, Any]:
        """List quarantined messages, newest first."""
        messages = QuarantinedMessages(self._context.store.database)
        found = messages.page(filters=filters, before=page.before, limit=page.limit)
        rows = [quarantined_dict(entry) for entry in found]
        return {"messages": rows, "next": found.next or None}

    def show_quarantined(self, message_id: Annotated[RowId, Path(description="Its `id`")]) -> dict[str, Any]:
        """Show one quarantined message with its whole body."""
        found = QuarantinedMessages(self._context.store.database).find(message_id)
        if found is None:
            raise NotFound(
                f"no quarantined message has the id {message_id}",
                field="message_id",
                hint="list quarantined messages with `GET /v1/quarantine`",
            )
        return quarantined_dict(found)


def router(context: ApiContext) -> APIRouter:
    messages = _Quarantine(context)
    made = APIRouter(prefix="/quarantine", tags=["quarantine"])
    made.add_api_route("", messages.list_quarantined, response_model=QuarantinePage)
    made.add_api_route(
        "/{message_id:int}",
        messages.show_quarantined,
        response_model=QuarantinedDocument,
        responses=documented(404),
    )
    for action in ACTIONS:
        action.add_to(made, context)
    return made
