"""``/v1/results``: what callbacks, queries and replies to submissions reported."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from listener.api.bulk import BulkAction
from listener.api.context import ApiContext
from listener.api.parameters import NEXT_PAGE, FiltersQuery, PageQuery, RowId
from listener.api.problems import documented
from listener.api.serialize import result_dict
from listener.core.documents import to_plain
from listener.core.errors import NotFound
from listener.core.model import ResultStatus, Source
from listener.explanations import parked_reasons, reasons_of
from listener.store.parked import ParkedResults
from listener.store.queries import Queries


class ResultDocument(BaseModel):
    """A recorded result."""

    id: int
    job_id: str
    run_id: str = Field(description="Of a workflow")
    type: str
    function: str
    state: str
    media_id: str = Field(description="Of an event of IMS or VOD")
    event: str = Field(description="What identifies an event among all others; empty for callbacks")
    code: str
    message: str
    details: list[Any]
    user_data: str | None
    activity_job_ids: list[str]
    activity_states: list[str]
    pipeline: str
    source: Source = Field(description="Where it comes from")
    output: str
    queue: str = Field(description="The queue that brought it; empty if none did")
    status: ResultStatus
    received_at: datetime
    copies: int = Field(description="How often it has arrived")
    contradictions: int = Field(description="How often another outcome has arrived after it")
    outputs: dict[str, Any] | None = Field(description="What the job produced, as handlers get it")
    activities: list[dict[str, Any]] = Field(description="The steps of a workflow")
    raw: str = Field(description="The callback as it arrived")


class RouteReasonDocument(BaseModel):
    """Whether a route matches, and if not, the first condition that is not met."""

    route: str
    matches: bool
    condition: str = Field(examples=["data.article"])
    wanted: Any
    found: Any = Field(description="null if there is no such member")
    met: int = Field(description="How many conditions before it are met")
    text: str = Field(description="The same in words")


class ListedResult(ResultDocument):
    reason: str = Field(description="Of a parked one: the route that came nearest, and what it misses")


class ShownResult(ResultDocument):
    routes: list[RouteReasonDocument] = Field(
        description="By the present settings; the route that came nearest is the first"
    )


class ResultPage(BaseModel):
    results: list[ListedResult]
    next: int | None = Field(description=NEXT_PAGE)


ACTIONS: Final = (
    BulkAction(
        name="reroute_parked",
        verb="reroute",
        done="rerouted",
        what="parked results",
        description="They are routed by the current routes. One that no route matches is refused, and stays parked.",
        source=ParkedResults,
        change=lambda changes: changes.reroute_parked,
        wakes=True,
    ),
    BulkAction(
        name="drop_parked",
        verb="drop",
        done="dropped",
        what="parked results",
        description="They go to no handler, and are deleted when the time of retention is over.",
        source=ParkedResults,
        change=lambda changes: changes.drop_parked,
    ),
)


class _Results:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def list_results(
        self,
        filters: FiltersQuery,
        page: PageQuery,
        status: Annotated[
            ResultStatus | None, Query(description="Only results with this status, e.g. `parked`")
        ] = None,
    ) -> dict[str, Any]:
        """List recorded results, newest first."""
        queries = Queries(self._context.store.database)
        found = queries.results(status=status, filters=filters, before=page.before, limit=page.limit)
        reasons = parked_reasons(queries, self._context.settings.rules(), found)
        rows = [result_dict(stored) | {"reason": reasons.get(stored.id, "")} for stored in found]
        return {"results": rows, "next": found.next or None}

    def show_result(self, result_id: Annotated[RowId, Path()]) -> dict[str, Any]:
        """Show one result with its callback, and why it matches each route or not."""
        queries = Queries(self._context.store.database)
        found = queries.result(result_id)
        if found is None:
            raise NotFound(
                f"no result has the id {result_id}",
                field="result_id",
                hint="list results with `GET /v1/results`",
            )
        reasons = reasons_of(queries, self._context.settings.rules(), found)
        document = result_dict(found, job=queries.jobs_of([result_id]).get(result_id))
        return document | {"routes": to_plain(tuple(reasons))}


def router(context: ApiContext) -> APIRouter:
    results = _Results(context)
    made = APIRouter(prefix="/results", tags=["results"])
    made.add_api_route("", results.list_results, response_model=ResultPage)
    made.add_api_route(
        "/{result_id:int}", results.show_result, response_model=ShownResult, responses=documented(404)
    )
    for action in ACTIONS:
        action.add_to(made, context)
    return made
