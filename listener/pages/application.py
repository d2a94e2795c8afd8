"""The pages as a Starlette application: who may see them, verified forms, errors as pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from listener import __version__
from listener.api.access import Permission
from listener.api.context import ApiContext
from listener.api.problems import problem_of
from listener.core.errors import ListenerError
from listener.core.logger import get_logger
from listener.http.guard import SAFE_METHODS
from listener.pages import (
    dead_letters,
    deliveries,
    jobs,
    overview,
    parked,
    quarantine,
    queues,
    routes,
    settings_page,
    sign_in,
)
from listener.pages.rendering import Templates, static_files
from listener.pages.security import MEDIA_TYPES, SecureHeaders
from listener.pages.sessions import LIFETIME, Session, Sessions, cookie_name, new_id
from listener.pages.visit import Area, PageRoute, Visit, parse_fields

log = get_logger(__name__)

#: How many sign-ins are verified at the same time; with the pause after a wrong token, this limits guessing.
SIGN_INS: Final = 4
SIGN_IN_PAUSE_SECONDS: Final = 1.0

AREAS: Final[Sequence[Area]] = (
    overview.AREA,
    jobs.AREA,
    deliveries.AREA,
    dead_letters.AREA,
    parked.AREA,
    quarantine.AREA,
    routes.AREA,
    queues.AREA,
    settings_page.AREA,
)

Pause = Callable[[float], Awaitable[None]]


#: The largest body of a form, in bytes, where it is larger than usual; by the beginning of the path.
#: An urlencoded message may be three times as long as the message.
BODY_LIMITS: Final[Mapping[str, int]] = {routes.EXPLAIN: 3 * routes.MAX_MESSAGE + (16 << 10)}


def application(context: ApiContext) -> ASGIApp:
    """Answers every path; those without a page with an error."""
    return Pages(context).application()


class Pages:
    """All pages, the sessions of their visitors, and what may happen at the same time."""

    def __init__(self, context: ApiContext, *, pause: Pause = asyncio.sleep) -> None:
        """``pause`` is what a wrong token waits for."""
        self._context = context
        self._pause = pause
        self._sessions = Sessions(context.tokens)
        self._cookie = cookie_name(context.settings.http.listen)
        self._signing_in = 0
        self._templates = Templates(
            daemon=context.daemon,
            version=__version__,
            signs_in=self._sessions.required,
            areas=AREAS,
        )

    def application(self) -> ASGIApp:
        every = [self._route(route) for area in AREAS for route in area.routes]
        every += [
            Route("/sign-in", self._show_sign_in),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/static/{name}", _static),
        ]
        handlers = {HTTPException: self._http_error, ListenerError: self._error}
        return SecureHeaders(Starlette(routes=every, exception_handlers=handlers))

    # one page

    def _route(self, route: PageRoute) -> Route:
        async def endpoint(request: Request) -> Response:
            session = self._session_of(request)
            if session:
                return await self._answer(request, route, session)
            if self._sessions.required:
                return _to_sign_in(request)
            session = self._sessions.without_sign_in(new_id())
            response = await self._answer(request, route, session)
            self._set_cookie(request, response, session)
            return response

        return Route(route.path, endpoint, methods=[route.method])

    async def _answer(self, request: Request, route: PageRoute, session: Session) -> Response:
        body = await request.body() if route.method == "POST" else b""
        visit = self._visit(request, session, query=request.url.query, body=body)
        if route.method == "POST":
            self._verify(visit, changes=route.changes)
        try:
            return await self._context.threads.run(route.view, visit)
        except (HTTPException, ListenerError):
            raise
        except Exception as error:  # a bug in one page must not look like one in the server
            log.exception("pages.failed", path=visit.path)
            raise HTTPException(500) from error

    def _visit(self, request: Request, session: Session, *, query: str = "", body: bytes = b"") -> Visit:
        return Visit(
            context=self._context,
            templates=self._templates,
            session=session,
            csrf_token=self._sessions.csrf_token(session),
            path=request.url.path,
            query={**parse_fields(query), **{name: (text,) for name, text in request.path_params.items()}},
            form=parse_fields(body.decode("utf-8", "replace")),
        )

    def _verify(self, visit: Visit, *, changes: bool) -> None:
        if not self._sessions.accepts(visit.session, visit.given("csrf")):
            raise HTTPException(
                403, "this form is out of date; go back, reload the page and repeat the action"
            )
        if changes and not visit.session.may_write:
            raise HTTPException(403, "this session may only read; sign in with a token that may write")

    # sessions

    def _session_of(self, request: Request) -> Session | None:
        return self._sessions.find(request.cookies.get(self._cookie, ""))

    async def _show_sign_in(self, request: Request) -> Response:
        if not self._sessions.required or self._session_of(request):
            return RedirectResponse("/", 303)
        return self._sign_in_page(request, after=parse_fields(request.url.query).get("next", ("/",))[-1])

    async def _sign_in(self, request: Request) -> Response:
        form = parse_fields((await request.body()).decode("utf-8", "replace"))
        after = form.get("next", ("/",))[-1]
        if self._signing_in >= SIGN_INS:
            return self._sign_in_page(request, after=after, error=sign_in.TOO_MANY, status=429)
        self._signing_in += 1
        try:
            session = self._sessions.begin(form.get("token", ("",))[-1].strip())
            if session is None:
                log.warning("pages.sign_in_failed", client=request.client.host if request.client else "")
                await self._pause(SIGN_IN_PAUSE_SECONDS)
                return self._sign_in_page(request, after=after, error=sign_in.UNKNOWN, status=401)
        finally:
            self._signing_in -= 1
        response = RedirectResponse(sign_in.local_path(after), 303)
        self._set_cookie(request, response, session)
        return response

    async def _sign_out(self, request: Request) -> Response:
        session = self._session_of(request)
        if session:
            self._verify(self._visit(request, session, body=await request.body()), changes=False)
            self._sessions.end(session)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(self._cookie, path="/")
        return response

    def _sign_in_page(self, request: Request, *, after: str, error: str = "", status: int = 200) -> Response:
        return self._visit(request, _NO_ONE).render("sign_in.html", status=status, after=after, error=error)

    def _set_cookie(self, request: Request, response: Response, session: Session) -> None:
        response.set_cookie(
            self._cookie,
            session.id,
            max_age=round(LIFETIME.total_seconds()),
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    # errors

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._error_page(request, error.status_code, _WORDS.get(error.status_code) or error.detail)

    async def _error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ListenerError)
        problem = problem_of(error)
        return self._error_page(request, problem.status, problem.detail, problem.hint)

    def _error_page(self, request: Request, status: int, words: str, hint: str = "") -> Response:
        session = self._session_of(request)
        return self._visit(request, session or _NO_ONE).render(
            "error.html",
            status=status,
            code=status,
            title=_TITLES.get(status, "Error"),
            words=words[:1].upper() + words[1:],
            hint=hint,
        )


#: The session of a visitor who has not signed in.
_NO_ONE: Final = Session(id="", permission=Permission.READ, expires=0.0)
_TITLES: Final = {
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    422: "Invalid request",
    500: "Internal error",
    503: "Store unavailable",
}
_WORDS: Final = {
    404: "There is no such page.",
    405: "This address does not support that method.",
    500: "A bug in mns-listener; its log says more.",
}


def _to_sign_in(request: Request) -> Response:
    """After the sign-in, the same page is shown; a form is not sent again."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = f"?next={quote(wanted, safe='')}" if request.method in SAFE_METHODS and wanted != "/" else ""
    return RedirectResponse(f"/sign-in{after}", 303)


async def _static(request: Request) -> Response:
    content = static_files().get(request.path_params["name"])
    if content is None:
        raise HTTPException(404)
    suffix = request.path_params["name"].rpartition(".")[2]
    keep = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return Response(content, media_type=MEDIA_TYPES.get(suffix), headers={"cache-control": keep})
