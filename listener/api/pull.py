"""``/v1/routes/{route}/claim`` and the settlement of what was claimed: for applications that pull their deliveries."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

from listener.api.context import ApiContext
from listener.api.parameters import Digits, DurationText, RowId, StrictRowId, Text, whole_number
from listener.api.problems import ProblemOfOne, documented, problem_of_one
from listener.api.waiting import disconnected
from listener.core.errors import ListenerError
from listener.core.model import DeliveryState
from listener.dispatch.pull import (
    MAX_CLAIM,
    MAX_NAME,
    PullAction,
    PullAnswer,
    PullSettlement,
    pulled_document,
)

#: The longest that a request may wait, in seconds.
MAX_WAIT: Final = 60
#: How many settlements one request may bring.
MAX_SETTLEMENTS: Final = 256
#: As stored, the number of an attempt is an INTEGER.
Attempt = Annotated[int, Field(ge=1, le=2**31 - 1), Strict(), BeforeValidator(whole_number)]


class PulledDelivery(BaseModel):
    """The document that all handlers get, see `result.schema.json`, with what is needed to settle it."""

    model_config = ConfigDict(extra="allow")

    delivery: int = Field(description="Names it when it is settled")
    attempt: int = Field(description="Names the attempt when it is settled")
    key: str = Field(description="The idempotency key: the same for every attempt at this delivery")
    lease_until: datetime = Field(description="Settle or extend it before that")
    route: str
    job_id: str
    state: str


class Claimed(BaseModel):
    deliveries: list[PulledDelivery] = Field(description="Empty if there was nothing to pull in time")


class SettlementFields(BaseModel):
    """How an attempt ended, or that it goes on."""

    model_config = ConfigDict(extra="forbid")

    action: PullAction
    attempt: Attempt = Field(description="Of the document that was pulled")
    delay: DurationText | None = Field(
        None, description="Of `retry`: the pause; the route's back-off if left out"
    )
    reason: Text = Field("", description="Of `retry` and `reject`")
    lease: DurationText | None = Field(
        None, description="Of `extend`: how long from now on; as the handler says if left out"
    )

    def settlement(self, delivery_id: int) -> PullSettlement:
        return PullSettlement(
            delivery_id=delivery_id,
            attempt=self.attempt,
            action=self.action,
            delay=self.delay,
            reason=self.reason,
            lease=self.lease,
        )


class NamedSettlement(SettlementFields):
    delivery: StrictRowId


class Settlements(BaseModel):
    model_config = ConfigDict(extra="forbid")

    settlements: Annotated[list[NamedSettlement], Field(min_length=1, max_length=MAX_SETTLEMENTS)]


class SettledDelivery(BaseModel):
    delivery: int
    state: DeliveryState = Field(description="After `retry`, `dead` if no attempts were left")
    lease_until: datetime | None = Field(None, description="While it is running")
    next_at: datetime | None = Field(None, description="While it is pending: when it can be pulled again")


class SettledOne(BaseModel):
    """One of several: what became of it, or why it was refused."""

    delivery: int
    state: DeliveryState | None = None
    lease_until: datetime | None = None
    next_at: datetime | None = None
    problem: ProblemOfOne | None = None


class SettledMany(BaseModel):
    settled: list[SettledOne] = Field(description="In the order of the request")


class _Pull:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def claim_deliveries(
        self,
        request: Request,
        route: Annotated[Text, Path(description="A route with a handler `pull`")],
        limit: Annotated[int, Query(ge=1, le=MAX_CLAIM, description="The most deliveries"), Digits] = 1,
        wait: Annotated[
            float,
            Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Wait so many seconds for one"),
            Digits,
        ] = 0,
        handler: Annotated[Text, Query(description="Its name, if the route has several")] = "",
        client: Annotated[
            Text,
            Query(
                max_length=MAX_NAME,
                description="Your name, printable; shown as the owner of the lease",
                json_schema_extra={"pattern": r"^( |[^\p{C}\p{Z}])*$"},
            ),
        ] = "",
        lease: Annotated[
            float | None,
            Query(
                ge=1,
                le=3600,
                allow_inf_nan=False,
                description="How many seconds you have to settle or extend; as the handler says if left out",
            ),
            Digits,
        ] = None,
    ) -> dict[str, Any]:
        """Claim deliveries of a route under a lease, the longest due first.

        Settle each of them before its lease ends, or extend the lease; otherwise the attempt counts as failed, and the
        delivery can be claimed again.
        """
        pulled = await self._context.pull_waiting.claim(
            route,
            handler=handler,
            client=client,
            limit=limit,
            lease=None if lease is None else timedelta(seconds=lease),
            wait=timedelta(seconds=wait),
            gone=partial(disconnected, request),
        )
        return {"deliveries": await self._context.threads.run(list, map(pulled_document, pulled))}

    def settle_delivery(
        self, delivery_id: Annotated[RowId, Path()], settlement: SettlementFields
    ) -> dict[str, Any]:
        """End the attempt at a delivery that was pulled, or extend its lease.

        `done`: its effect has happened. `retry`: it failed, another attempt follows. `reject`: it can never succeed, it
        becomes a dead letter. A request that is repeated has no further effect. 409: the lease has expired and another
        attempt has begun, or it was settled otherwise.
        """
        return _settled(self._context.pull.settle(settlement.settlement(delivery_id)))

    def settle_deliveries(self, given: Settlements) -> dict[str, Any]:
        """The same for several in one transaction; each is settled, or refused, by itself."""
        answers = self._context.pull.settle_all(
            [each.settlement(each.delivery) for each in given.settlements]
        )
        return {
            "settled": [
                _refused(each.delivery, answer) if isinstance(answer, ListenerError) else _settled(answer)
                for each, answer in zip(given.settlements, answers, strict=True)
            ]
        }


def router(context: ApiContext) -> APIRouter:
    pull = _Pull(context)
    made = APIRouter(tags=["pull"])
    made.add_api_route(
        "/routes/{route}/claim",
        pull.claim_deliveries,
        methods=["POST"],
        response_model=Claimed,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    made.add_api_route(
        "/deliveries/{delivery_id:int}",
        pull.settle_delivery,
        methods=["POST"],
        response_model=SettledDelivery,
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    made.add_api_route("/deliveries", pull.settle_deliveries, methods=["POST"], response_model=SettledMany)
    return made


def _refused(delivery_id: int, error: ListenerError) -> dict[str, Any]:
    problem = problem_of_one(error)
    if problem["field"] == "delivery_id":  # as the path of a single one calls it
        problem["field"] = "delivery"
    return {"delivery": delivery_id, "problem": problem}


def _settled(answer: PullAnswer) -> dict[str, Any]:
    return {
        "delivery": answer.delivery_id,
        "state": answer.state,
        "lease_until": answer.lease_until,
        "next_at": answer.next_at,
    }
