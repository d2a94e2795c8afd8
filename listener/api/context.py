"""What the routers of the API, and the pages, need of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from listener.api.access import Tokens
from listener.client import Client
from listener.runtime.liveness import Health
from listener.settings.sections import Settings
from listener.store.sql_store import SqlStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """Everything in it may be used from several threads."""

    daemon: str  #: the name of this process in the store, see ``listener.store.daemons``
    client: Client
    tokens: Tokens | None  #: None: the unix socket needs none
    ready: Callable[[], Health]
    wake: Callable[[], None]  #: lets the daemon look at once for deliveries that are due

    @property
    def settings(self) -> Settings:
        """The present ones: a reload replaces them, so keep none of their values."""
        return self.client.settings

    @property
    def store(self) -> SqlStore:
        return self.client.store
