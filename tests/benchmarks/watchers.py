"""Those who watch a daemon while it works: an overview that is open in a browser, and a follower of the events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.benchmarks.places import BOUND, wait_for

#: How often the script of the overview asks for its figures, in seconds.
REFRESHED: Final = 10.0


@dataclass
class Watchers:
    """Both of them, at the socket of one daemon."""

    socket: Path
    follows: bool = False  #: events are answered
    events: int = 0
    figures: int = 0  #: how often the overview got them
    ended: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Return once both are answered: the first requests import and compile what later ones do not."""
        for watch in (self._follow, self._look):
            threading.Thread(target=self._until_stopped, args=(watch,), daemon=True).start()
        wait_for(lambda: self.follows and bool(self.figures), what="both watchers were answered")

    def end(self) -> None:
        """Return once the follower has seen what happened, or the first of it; the daemon still runs."""
        wait_for(lambda: bool(self.events), what="the follower saw an event")
        self.ended.set()

    def _until_stopped(self, watch: Callable[[httpx.Client], None]) -> None:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        try:
            with httpx.Client(transport=transport, base_url="http://localhost", timeout=BOUND) as client:
                watch(client)
        except httpx.TransportError:  # the daemon has stopped
            pass

    def _follow(self, client: httpx.Client) -> None:
        with client.stream("GET", "/v1/events") as reply:
            for line in reply.iter_lines():
                self.follows = True
                self.events += line.startswith("event:")

    def _look(self, client: httpx.Client) -> None:
        while True:
            self.figures += client.get("/overview.json").raise_for_status().is_success
            if self.ended.wait(REFRESHED):
                return
