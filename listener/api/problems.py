"""Errors of the listener as problem documents: the one place that decides about their status."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.core.errors import (
    AlreadyExists,
    DoubtfulJob,
    LeaseLost,
    ListenerError,
    MpsRejected,
    MpsUnavailable,
    NotFound,
    ReferenceExists,
    SettingsError,
    StoreRejected,
    StoreUnavailable,
    TooManyWaiting,
    UnavailableError,
    UsageError,
)
from listener.core.logger import get_logger
from listener.http.problem import MEDIA_TYPE, TYPES, Problem, problem_response

log = get_logger(__name__)

#: After how many seconds a client may try again what was unavailable.
RETRY_AFTER: Final = 5
#: The first class that an error is an instance of decides: (class, status, name, title).
_ERRORS: Final = (
    (NotFound, 404, "not-found", "Not found"),
    (ReferenceExists, 409, "reference-exists", "Another job has this reference"),
    (AlreadyExists, 409, "already-exists", "The job exists already"),
    (LeaseLost, 409, "lease-lost", "The attempt is over"),
    (TooManyWaiting, 503, "too-many-waiting", "Too many jobs wait to be submitted"),
    (UsageError, 422, "invalid-request", "The request cannot work"),
    (MpsRejected, 422, "rejected-by-mps", "MPS rejected the request"),
    (SettingsError, 422, "not-configured", "The settings do not allow this"),
    (StoreRejected, 422, "not-storable", "The database rejects these values"),
    (MpsUnavailable, 503, "mps-unavailable", "MPS is unavailable"),
    (StoreUnavailable, 503, "store-unavailable", "The store is unavailable"),
    (UnavailableError, 503, "unavailable", "A service is unavailable"),
)
#: For an error that nothing foresaw.
INTERNAL: Final = Problem(
    name="internal",
    title="Internal error",
    status=500,
    detail="the request failed unexpectedly",
    hint="the log of the daemon has the event request.failed with the reason",
)
_FORCE_HINT: Final = 'if you know better, submit it with "force": true'
LIST_JOBS: Final = "list jobs with `GET /v1/jobs`"
#: In place of the hints of these errors, if they name commands. The first class decides.
_HINTS: Final = (
    (ReferenceExists, "choose another reference, or look at its job with `GET /v1/jobs/REFERENCE`"),
    (AlreadyExists, "look at it with `GET /v1/jobs/JOB_ID`"),
    (NotFound, LIST_JOBS),
)
#: The command in a hint that the API does not give.
_COMMAND: Final = "`mns-listener "
#: Of what the framework itself answers, by the status.
_FRAMEWORK: Final = {
    400: ("bad-request", "The request cannot be read"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "The path has no such method"),
}
_JSON_HINT: Final = "send the body with the header `Content-Type: application/json`"
#: How much of the beginning, and of the end, of a longer ``detail`` is left.
_HALF: Final = 500
_WRONG_MEMBER: Final = "wrong_member"
#: In place of what pydantic says, by its type of error.
_PLAINER: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not a member of this object; leave it out, or see `GET /v1/openapi.json` for its name",
    "model_attributes_type": "must be a JSON object",
}


class ProblemDocument(BaseModel):
    """Why a request was refused or failed (RFC 9457)."""

    type: str = Field(description="Identifies the kind of problem", examples=[f"{TYPES}not-found"])
    title: str
    status: int
    detail: str = ""
    field: str = Field("", description="The parameter or the member of the body that is wrong")
    hint: str = Field("", description="What to do about it")
    code: str = Field("", description="The error code of MPS")
    request_id: str = Field("", description="Under which Alibaba Cloud knows the call")
    errors: list[dict[str, str]] = Field(default=[], description="All of them, if several members are wrong")


class ProblemOfOne(BaseModel):
    """Why one of several items in a request was refused; as a problem document."""

    status: int
    type: str
    title: str
    detail: str
    field: str = Field("", description="The member that is wrong")
    hint: str = Field("", description="What to do about it")


def problem_of_one(error: ListenerError) -> dict[str, Any]:
    document = problem_of(error).document
    return {name: document.get(name, "") for name in ProblemOfOne.model_fields}


def wrong_member(name: str, detail: str) -> PydanticCustomError:
    """For the validator of a whole model: what is wrong is this member of it."""
    return PydanticCustomError(_WRONG_MEMBER, "{detail}", {"name": name, "detail": detail})


def problem_of(error: ListenerError) -> Problem:
    for kind, status, name, title in _ERRORS:
        if isinstance(error, kind):
            own = getattr(error, "hint", "")
            return Problem(
                name=name,
                title=title,
                status=status,
                detail=_detail(str(error).removesuffix(f"; {own}") if own else str(error)),
                field=getattr(error, "field", ""),
                hint=_hint_of(error, own),
                code=getattr(error, "code", ""),
                request_id=getattr(error, "request_id", ""),
                headers={"retry-after": str(RETRY_AFTER)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {},
            )
    log.error("request.failed", error=str(error))
    return INTERNAL


def _detail(text: str) -> str:
    """Without the middle of a very long value that it repeats."""
    return text if len(text) <= 2 * _HALF else f"{text[:_HALF]}…{text[-_HALF:]}"


def _hint_of(error: ListenerError, own: str) -> str:
    """What a client of the API does about it."""
    if isinstance(error, DoubtfulJob):
        return _FORCE_HINT
    return next((hint for kind, hint in _HINTS if _COMMAND in own and isinstance(error, kind)), own)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation that may be answered by problems with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)
    }


def answer_with_problems(app: FastAPI) -> None:
    """Let every error of this application become a problem document."""
    for kind, handle in _HANDLERS.items():
        app.add_exception_handler(kind, handle)


class UnexpectedErrors:
    """Logs errors that nothing else handled. The framework answers them, and raises them again for its server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:  # whatever it is, the server goes on
            log.exception("request.failed", method=scope["method"], path=scope["path"])


async def _listener_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ListenerError)
    return problem_response(problem_of(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, detail, field, hint = error.status_code, str(error.detail), "", ""
    headers = {header.lower(): value for header, value in (error.headers or {}).items()}
    path = request.scope["path"]
    # The framework names only the methods of the first route with this path.
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(_methods_of(request.app, path))
        detail, hint = f"{path} has no method {request.method}", f"it has {headers['allow']}"
    elif status == HTTPStatus.NOT_FOUND:
        detail, hint = f"there is no path {path}", "`GET /v1` links to all areas"
        field = "".join(re.findall(r"{(\w+_id)}", _template_of(request.app, path)))
        if field:  # or the path would have been found
            detail, hint = f"there is no path {path}: {field} is a whole number", ""
    elif status == HTTPStatus.BAD_REQUEST:
        hint = "send JSON in UTF-8, not nested too deeply, with numbers of at most 4,300 digits"
    name, title = _FRAMEWORK[status]
    return problem_response(
        Problem(
            name=name,
            title=title,
            status=status,
            detail=_detail(detail),
            field=field,
            hint=hint,
            headers=headers,
        )
    )


def _methods_of(app: FastAPI, path: str) -> Sequence[str]:
    """The methods that a path has; HEAD wherever there is GET (``HeadAsGet``)."""
    methods = [method.upper() for method in app.openapi()["paths"].get(_template_of(app, path), ())]
    return [*methods, "HEAD"] if "GET" in methods else methods


def _template_of(app: FastAPI, path: str) -> str:
    """That of this path, by the document of the API: the one with the most literal text. Empty if there is none."""
    for template in sorted(app.openapi()["paths"], key=lambda each: (each.count("{"), -len(each))):
        if re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(template)), path, re.DOTALL):
            return str(template)
    return ""


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = list(_wrong_fields(error))
    first = wrong[0]
    return problem_response(
        Problem(
            name="invalid-request",
            title="The request cannot work",
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            detail=first["detail"],
            field=first["field"],
            hint="" if _is_json(request) else _JSON_HINT,
            errors=wrong if len(wrong) > 1 else (),
        )
    )


def _is_json(request: Request) -> bool:
    """Whether the body was read as JSON, or there was none to read. What curl sends by itself is a form."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _wrong_fields(error: RequestValidationError) -> Iterator[Mapping[str, str]]:
    for each in error.errors():
        if each["type"] == "json_invalid":
            yield {
                "field": "",
                "detail": f"the body is not JSON: {each['ctx']['error']} at character {each['loc'][-1]}",
            }
            continue
        place = [str(part) for part in each["loc"][1:]]  # the first part is body, query, path or header
        if each["type"] == _WRONG_MEMBER:
            place.append(each["ctx"]["name"])
        plainer = _PLAINER.get(each["type"], "")
        said = plainer or str(each["msg"]).removeprefix("Value error, ")
        yield {"field": ".".join(place), "detail": f"the body {said}" if plainer and not place else said}


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return problem_response(INTERNAL)


_HANDLERS: Final[Mapping[type[Exception], Callable[[Request, Exception], Any]]] = {
    ListenerError: _listener_error,
    HTTPException: _http_error,
    RequestValidationError: _invalid_request,
    Exception: _unexpected,
}
