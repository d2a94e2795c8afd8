"""The API as one application: the routers of all areas behind the check of the token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from listener import __version__
from listener.api import (
    configuration,
    dead_letters,
    deliveries,
    events,
    explain,
    job_batches,
    jobs,
    pull,
    quarantine,
    results,
    root,
)
from listener.api.access import Access
from listener.api.context import ApiContext
from listener.api.fast_path import FastPath
from listener.api.parameters import refuse_unknown_parameters
from listener.api.problems import ProblemDocument, UnexpectedErrors, answer_with_problems, documented
from listener.http.head import HeadAsGet

PREFIX: Final = "/v1"
OPENAPI: Final = f"{PREFIX}/openapi.json"
#: The largest body of a request, in bytes.
MAX_BODY: Final = 1 << 20
#: The routers, by the area in whose path they answer.
AREAS: Final[Mapping[str, Callable[[ApiContext], APIRouter]]] = {
    "jobs": jobs.router,
    "results": results.router,
    "deliveries": deliveries.router,
    "dead-letters": dead_letters.router,
    "quarantine": quarantine.router,
    "events": events.router,
}
DESCRIPTION: Final = """\
Submit jobs, wait for their outcomes, and handle what went wrong. Errors are problem documents (RFC 9457).

Requests need the header `Authorization: Bearer TOKEN` with a token of `http.token_file`, except over a unix socket
without such a file. Tokens that may only read are accepted for GET, and for `POST /v1/explain`.
"""


def application(context: ApiContext) -> ASGIApp:
    """Answers every path; those outside of ``/v1`` with a problem."""
    return guarded(fastapi_application(context), context)


def guarded(app: FastAPI, context: ApiContext) -> ASGIApp:
    """With the check of the token, the fast path, and a problem for each error that was not foreseen."""
    fast = FastPath(HeadAsGet(app), context, path=f"{PREFIX}/jobs")
    return Access(UnexpectedErrors(fast), tokens=context.tokens)


def fastapi_application(context: ApiContext) -> FastAPI:
    """Without the check of the token."""
    app = _Api(
        context,
        title="mns-listener",
        version=__version__,
        openapi_url=OPENAPI,
        docs_url=None,  # they would load scripts of other servers
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_unknown_parameters)],
        generate_unique_id_function=lambda route: route.name,
    )
    areas = (*AREAS, *configuration.AREAS)
    links = {"openapi": OPENAPI} | {area: f"{PREFIX}/{area}" for area in areas}
    app.include_router(root.router(context, links=links), prefix=PREFIX)
    app.include_router(configuration.router(context), prefix=PREFIX)
    app.include_router(job_batches.router(context), prefix=PREFIX)  # before names of jobs
    for make in AREAS.values():
        app.include_router(make(context), prefix=PREFIX)
    app.include_router(explain.router(context), prefix=PREFIX)  # nothing to list
    app.include_router(pull.router(context), prefix=PREFIX)  # in the paths of two areas
    answer_with_problems(app)
    return app


class _Api(FastAPI):
    def __init__(self, context: ApiContext, **options: Any) -> None:
        super().__init__(**options)
        self._context = context

    def openapi(self) -> dict[str, Any]:
        optional: list[dict[str, list[str]]] = [] if self._context.tokens else [{}]
        return _openapi(self) | {"security": [{"token": []}, *optional]}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with our problems instead of its own form of errors, and with the token."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for operations in document["paths"].values():
            for operation in operations.values():
                _describe_problems(operation["responses"], has_body="requestBody" in operation)
        app.openapi_schema = document
    return app.openapi_schema


def _describe_problems(responses: dict[str, Any], *, has_body: bool) -> None:
    """The operation's own, and those that any request may lead to."""
    of_body = (400, 413) if has_body else ()
    for status, response in documented(*of_body, 401, 403, 422, 503).items():
        responses[str(status)] = response
