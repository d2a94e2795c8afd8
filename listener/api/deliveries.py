"""``/v1/deliveries``: results on their way to handlers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from listener.api.bulk import BulkAction
from listener.api.context import ApiContext
from listener.api.parameters import NEXT_PAGE, FiltersQuery, PageQuery, RowId
from listener.api.problems import documented
from listener.api.serialize import delivery_dict, whole_delivery_dict
from listener.core.errors import NotFound
from listener.core.model import DeliveryState
from listener.store.deliveries import UNSETTLED, Deliveries, PendingDeliveries


class DeliveryDocument(BaseModel):
    """One result on its way to one handler."""

    id: int
    job_id: str = Field(description="What the result is about: a job, or a run, a medium or an event")
    result_state: str
    route: str
    handler: str
    state: DeliveryState
    attempt: int = Field(description="How often it was started")
    failures: int = Field(description="How many attempts were spent")
    key: str = Field(description="Its idempotency key")
    next_at: datetime | None = Field(description="When it is due")
    lease_until: datetime | None
    created_at: datetime
    replayed_at: datetime | None
    settled_at: datetime | None
    last_error: str


class WholeDelivery(DeliveryDocument):
    user_data: str | None
    raw: str = Field(description="The callback as it arrived")


class DeliveryPage(BaseModel):
    deliveries: list[DeliveryDocument]
    next: int | None = Field(description=NEXT_PAGE)


ACTIONS: Final = (
    BulkAction(
        name="retry_deliveries",
        verb="retry",
        done="retried",
        what="pending deliveries",
        description="They become due now; attempts and failures stay as they are.",
        source=PendingDeliveries,
        change=lambda changes: changes.retry_deliveries,
        wakes=True,
    ),
    BulkAction(
        name="cancel_deliveries",
        verb="cancel",
        done="cancelled",
        what="pending deliveries",
        description="They become dead letters, which can be replayed or dropped. Running ones cannot be cancelled.",
        source=PendingDeliveries,
        change=lambda changes: changes.cancel_deliveries,
    ),
)


class _Deliveries:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list_deliveries(
        self,
        filters: FiltersQuery,
        page: PageQuery,
        state: Annotated[
            list[DeliveryState] | None, Query(description="Repeatable; pending and running if not given")
        ] = None,
    ) -> dict[str, Any]:
        """List deliveries, newest first."""
        found = Deliveries(self._context.store.database).page(
            states=state or UNSETTLED, filters=filters, before=page.before, limit=page.limit
        )
        rows = [delivery_dict(delivery) for delivery in found]
        return {"deliveries": rows, "next": found.next or None}

    def show_delivery(self, delivery_id: Annotated[RowId, Path()]) -> dict[str, Any]:
        """Show one delivery, in any state, with its callback."""
        found = Deliveries(self._context.store.database).find(delivery_id)
        if found is None:
            raise NotFound(
                f"no delivery has the id {delivery_id}",
                field="delivery_id",
                hint="list deliveries with `GET /v1/deliveries`",
            )
        return whole_delivery_dict(found)


def router(context: ApiContext) -> APIRouter:
    deliveries = _Deliveries(context)
    made = APIRouter(prefix="/deliveries", tags=["deliveries"])
    made.add_api_route("", deliveries.list_deliveries, response_model=DeliveryPage)
    made.add_api_route(
        "/{delivery_id:int}",
        deliveries.show_delivery,
        response_model=WholeDelivery,
        responses=documented(404),
    )
    for action in ACTIONS:
        action.add_to(made, context)
    return made
