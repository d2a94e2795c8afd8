"""``GET /v1``: what this server is, and where everything is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from listener import __version__
from listener.api.context import ApiContext


class Root(BaseModel):
    name: str = Field(examples=["mns-listener"])
    version: str
    daemon: str = Field(description="The name of this process, as `store status` shows it")
    ready: bool
    links: dict[str, str] = Field(description="The beginnings of all paths, by area")


def router(context: ApiContext, *, links: dict[str, str]) -> APIRouter:
    root = APIRouter(tags=["server"])

    @root.get("")
    def describe_server() -> Root:
        """The version and the name of the daemon, with links to all areas."""
        return Root(
            name="mns-listener",
            version=__version__,
            daemon=context.daemon,
            ready=context.ready().ok,
            links=links,
        )

    return root
