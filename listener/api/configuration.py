"""``/v1/routes``, ``/v1/queues`` and ``/v1/settings``: what this process works by. Nothing of it is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from listener.api.context import ApiContext
from listener.settings.sections import RetrySettings, RouteSettings, Settings
from listener.store.database import parsed_url
from listener.store.url_display import display_url

#: The paths of the router.
AREAS: Final = ("routes", "queues", "settings")
#: Shown by operations of their own.
_SHOWN_ELSEWHERE: Final = frozenset({"queues", "routes"})


class HandlerDocument(BaseModel):
    """A handler of a route. Its options may be secrets, and are not shown."""

    name: str
    use: str


class RetryDocument(BaseModel):
    """How often and for how long a delivery is retried; durations in seconds."""

    max_attempts: int
    max_elapsed: float
    initial_backoff: float
    max_backoff: float


class RouteDocument(BaseModel):
    name: str
    match: dict[str, Any] = Field(description="The conditions that are given; all of them must match")
    handlers: list[HandlerDocument]
    enrich: bool = Field(description="Whether handlers get the outputs of the job")
    deadline: float | None = Field(description="In seconds; null: that of the function")
    retry: RetryDocument


class RouteList(BaseModel):
    routes: list[RouteDocument] = Field(description="In their order: the first that matches gets the result")


class QueueDocument(BaseModel):
    name: str
    queue: str = Field(description="Its name at MNS")
    endpoint: str
    tenant: str
    wait: float = Field(description="How long a poll waits for messages, in seconds")
    batch: int
    max_pollers: int
    state: str = Field(description="`ok`, or the error of the last poll")


class QueueList(BaseModel):
    queues: list[QueueDocument]


class SettingsDocument(BaseModel):
    settings: dict[str, Any] = Field(
        description="The sections except queues and routes; durations in seconds, the store without its password"
    )


class _Configuration:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def list_routes(self) -> dict[str, Any]:
        """List the routes of this process, in their order."""
        settings = self._context.settings
        return {"routes": [_route(route, settings.retry) for route in settings.routes]}

    async def list_queues(self) -> dict[str, Any]:
        """List the queues that this process consumes, with the state of each."""
        states: Mapping[str, str] = self._context.ready().details.get("queues", {})
        queues = [
            {
                **_plain(queue.model_dump()),
                "name": queue.label,
                "state": states.get(queue.label, ""),
            }
            for queue in self._context.settings.queues
        ]
        return {"queues": queues}

    async def show_settings(self) -> dict[str, Any]:
        """Show the settings of this process, without secrets."""
        return {"settings": _plain(shown_settings(self._context.settings))}


def router(context: ApiContext) -> APIRouter:
    configuration = _Configuration(context)
    made = APIRouter(tags=["configuration"])
    made.add_api_route("/routes", configuration.list_routes, response_model=RouteList)
    made.add_api_route("/queues", configuration.list_queues, response_model=QueueList)
    made.add_api_route("/settings", configuration.show_settings, response_model=SettingsDocument)
    return made


def _route(route: RouteSettings, retry: RetrySettings) -> dict[str, Any]:
    return {
        "name": route.name,
        "match": _plain({name: value for name, value in route.match.model_dump().items() if value}),
        "handlers": [{"name": handler.label, "use": handler.use} for handler in route.handlers],
        "enrich": route.enrich,
        "deadline": _plain(route.deadline),
        "retry": _plain((route.retry or retry).model_dump()),
    }


def shown_settings(settings: Settings) -> dict[str, Any]:
    """The sections without secrets, and without queues and routes."""
    shown = settings.model_dump(exclude=set(_SHOWN_ELSEWHERE))
    shown["store"]["url"] = display_url(parsed_url(settings.store.url))
    return shown


def _plain(value: Any) -> Any:
    """As JSON has it: durations are numbers, paths are text."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
