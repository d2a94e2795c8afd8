"""What the routers of the API, and the pages, need of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from listener.api.acceptance import Acceptance
from listener.api.access import Tokens
from listener.api.live_feed import LiveFeed
from listener.api.outcomes import Outcomes
from listener.api.threads import Threads
from listener.client import Client
from listener.core.queue_status import QueueReport
from listener.dispatch.pull import Pull
from listener.dispatch.pull_waiting import PullWaiting
from listener.runtime.liveness import Health
from listener.settings.sections import Settings
from listener.store.event_feed import EventFeed
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.statistics import Activity, Totals

#: How many calls of the store coroutines may have under way.
STORE_THREADS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """Everything in it may be used from several threads."""

    daemon: str  #: the name of this process in the store, see ``listener.store.daemons``
    client: Client
    tokens: Tokens | None  #: None: the unix socket needs none
    ready: Callable[[], Health]
    wake: Callable[[], None]  #: lets the daemon look at once for deliveries that are due
    acceptance: Acceptance  #: what stores jobs that are submitted soon
    threads: Threads  #: for calls of the store from coroutines
    outcomes: Outcomes  #: what waits for the ends of jobs
    pull: Pull
    pull_waiting: PullWaiting  #: the applications that wait for something to pull
    feed: LiveFeed  #: what follows events
    queues: Callable[[], Sequence[QueueReport]]  #: how receiving from each queue goes
    history: Callable[[], Sequence[Totals]]  #: what was open in the store in the last hour, oldest first
    activity: Callable[[], Activity | None]  #: what happened in it then, as it was read last

    @property
    def settings(self) -> Settings:
        """The present ones: a reload replaces them, so keep none of their values."""
        return self.client.settings

    @property
    def store(self) -> SqlStore:
        return self.client.store


def make_outcomes(store: SqlStore, threads: Threads) -> Outcomes:
    """What waits for the ends of jobs in this store."""
    return Outcomes(lambda tokens: threads.run(Queries(store.database).finished, tokens))


def make_feed(store: SqlStore, threads: Threads, *, busy: Callable[[], bool]) -> LiveFeed:
    """What follows the events of this store; ``busy`` is explained at ``live_feed.Pace``."""
    feed = LiveFeed(EventFeed(store.database), threads, busy=busy)
    store.on_change = feed.notify
    return feed
