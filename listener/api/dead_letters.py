"""``/v1/dead-letters``: deliveries that will not be retried."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from listener.api.bulk import BulkAction
from listener.api.context import ApiContext
from listener.api.deliveries import DeliveryDocument, WholeDelivery
from listener.api.parameters import NEXT_PAGE, FiltersQuery, PageQuery, RowId
from listener.api.problems import documented
from listener.api.serialize import delivery_dict, whole_delivery_dict
from listener.core.errors import NotFound
from listener.store.dead_letters import DeadLetters


class DeadLetterPage(BaseModel):
    dead_letters: list[DeliveryDocument]
    next: int | None = Field(description=NEXT_PAGE)


ACTIONS: Final = (
    BulkAction(
        name="replay_dead_letters",
        verb="replay",
        done="replayed",
        what="dead letters",
        description="They become pending again, with all their attempts, at the handlers that the current routes name. "
        "One that no route matches is refused, and stays a dead letter.",
        source=DeadLetters,
        change=lambda changes: changes.replay_dead_letters,
        wakes=True,
    ),
    BulkAction(
        name="drop_dead_letters",
        verb="drop",
        done="dropped",
        what="dead letters",
        description="They can no longer be replayed.",
        source=DeadLetters,
        change=lambda changes: changes.drop_dead_letters,
    ),
)


class _DeadLetters:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list_dead_letters(self, filters: FiltersQuery, page: PageQuery) -> dict[str, Any]:
        """List dead letters, newest first; `since` and `until` refer to the time of the failure."""
        letters = DeadLetters(self._context.store.database)
        found = letters.page(filters=filters, before=page.before, limit=page.limit)
        rows = [delivery_dict(delivery) for delivery in found]
        return {"dead_letters": rows, "next": found.next or None}

    def show_dead_letter(self, dead_letter_id: Annotated[RowId, Path()]) -> dict[str, Any]:
        """Show one dead letter with its callback."""
        found = DeadLetters(self._context.store.database).find(dead_letter_id)
        if found is None:
            raise NotFound(
                f"no dead letter has the id {dead_letter_id}",
                field="dead_letter_id",
                hint="list dead letters with `GET /v1/dead-letters`",
            )
        return whole_delivery_dict(found)


def router(context: ApiContext) -> APIRouter:
    letters = _DeadLetters(context)
    made = APIRouter(prefix="/dead-letters", tags=["dead letters"])
    made.add_api_route("", letters.list_dead_letters, response_model=DeadLetterPage)
    made.add_api_route(
        "/{dead_letter_id:int}",
        letters.show_dead_letter,
        response_model=WholeDelivery,
        responses=documented(404),
    )
    for action in ACTIONS:
        action.add_to(made, context)
    return made
