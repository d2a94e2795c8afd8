"""Events over HTTP: what a stream contains, how it begins again, and what it costs others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from listener.api import live_feed as module
from listener.api.events import EventDocument
from listener.core import clock
from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.model import Dead, Done, Settlement, Target
from listener.http.address import bind
from listener.http.server import Server
from listener.store.event_feed import EventFeed, FeedPage
from listener.store.feed_position import Position
from listener.store.sql_store import SqlStore
from tests.support.api import Api
from tests.support.builders import a_claim, a_decoded_message, a_result, decoded_messages, routes_all
from tests.support.event_stream import EventStream
from tests.support.json_schema import validator
from tests.support.waiting import wait_until

LONG = 600.0
MINUTE = timedelta(minutes=1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def never_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", LONG)


def record(store: SqlStore, prefix: str, **fields: Any) -> None:
    result = a_result(job_id=prefix, **fields)
    message = a_decoded_message(result=result)
    store.record([message], routes_all(Target(f"to-{prefix}", "log")), at=clock.now())


def settle_all(store: SqlStore, *outcomes: Any) -> None:
    now = clock.now()
    claimed = store.claim(a_claim(until=now + MINUTE), at=now)
    settled = zip(claimed, outcomes, strict=True)
    store.settle([Settlement(delivery=each, outcome=outcome) for each, outcome in settled], at=now)


def read(api: Api, *, last_event_id: str = "", **params: str) -> list[dict[str, Any]]:
    """The events up to now."""
    headers = {"last-event-id": last_event_id}
    reply = api.get("/v1/events", params={"follow": "false", **params}, headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    return list(EventStream(reply.text.splitlines()))


class Clients:
    """Follow the events over HTTP."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self._stack = stack

    def follow(self, *, headers: dict[str, str] | None = None, **params: str) -> EventStream:
        """A stream that has begun."""
        request = httpx.stream("GET", f"{self.url}/v1/events", params=params, headers=headers, timeout=30)
        reply = self._stack.enter_context(request)
        assert reply.status_code == 200
        lines = reply.iter_lines()
        stream = EventStream(lines)
        assert next(lines) == f"retry: {module.RETRY_MILLISECONDS}"
        stream.last_id = next(lines).removeprefix("id: ")
        return stream


@contextmanager
def served(api: Api) -> Iterator[tuple[str, Callable[[], None]]]:
    """The API at a port, and what stops it as the daemon does."""
    bound = bind("127.0.0.1:0")
    server = Server(api.application, bound, max_connections=64)
    stopped = threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            api.context.feed.close()
            server.stop()

    server.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", stop
    finally:
        stop()


@pytest.fixture
def clients(api: Api) -> Iterator[Clients]:
    with served(api) as (url, _), ExitStack() as stack:
        yield Clients(url, stack)


def test_events_have_the_fields_that_the_document_says(api: Api, store: SqlStore) -> None:
    record(store, "one")
    settle_all(store, Done())
    document = api.get("/v1/openapi.json").json()
    content = document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    components = {"components": document["components"]}
    text = api.get("/v1/events", params={"follow": "false", "since": "1h"}).text
    events = [dict(line.split(": ", 1) for line in each.splitlines()) for each in text.split("\n\n")]
    complete = [event for event in events if "data" in event]

    assert [event["event"] for event in complete] == ["result.recorded", "delivery.settled"]
    for event in complete:
        validator()(content["schema"] | components).validate(event)
        data = content["schema"]["properties"]["data"]["contentSchema"]
        validator()(data | components).validate(json.loads(event["data"]))


def test_a_stream_holds_what_has_happened(api: Api, store: SqlStore) -> None:
    record(store, "one", function="Cover")
    record(store, "two", function="ASR", state="Fail")
    settle_all(store, Done(), Dead(reason="no use"))

    events = read(api, since="1h")

    assert [(event["event"], event["job_id"], event["state"]) for event in events] == [
        ("result.recorded", "one", "Success"),
        ("result.recorded", "two", "Fail"),
        ("delivery.settled", "one", "done"),
        ("delivery.settled", "two", "dead"),
    ]
    assert (events[3]["routes"], events[3]["handler"], events[3]["error"]) == (["to-two"], "log", "no use")
    assert all(set(event) == set(EventDocument.model_fields) for event in events)
    assert read(api) == []


@pytest.mark.parametrize(
    ("params", "jobs"),
    [
        ({"function": "cover"}, ["one", "one"]),
        ({"state": "DEAD"}, ["two"]),
        ({"event": "result.recorded", "route": "to-two"}, ["two"]),
        ({"route": "nothing"}, []),
    ],
)
def test_events_can_be_narrowed(api: Api, store: SqlStore, params: dict[str, str], jobs: list[str]) -> None:
    record(store, "one", function="Cover")
    record(store, "two", function="ASR", state="Fail")
    settle_all(store, Done(), Dead(reason="no use"))

    assert [event["job_id"] for event in read(api, since="1h", **params)] == jobs


def test_a_stream_begins_after_any_event(api: Api, store: SqlStore) -> None:
    store.record(decoded_messages(4), routes_all(), at=clock.now())
    events = read(api, since="1h")

    for number, event in enumerate(events, 1):
        assert read(api, after=event["cursor"]) == events[number:]
        assert read(api, after="0", last_event_id=event["cursor"]) == events[number:]


@pytest.mark.parametrize("cursor", ["x", "99", "1.1.1"])
def test_a_cursor_that_is_none_of_this_store_is_refused(api: Api, cursor: str) -> None:
    reply = api.get("/v1/events", params={"after": cursor})

    assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json")
    assert "cursor" in reply.json()["detail"]
    assert reply.json()["field"] == "after"
    header = api.get("/v1/events", headers={"last-event-id": cursor}).json()
    assert header["field"] == "last-event-id"


@pytest.mark.usefixtures("never_polls")
def test_what_this_process_does_is_sent_at_once_and_read_once_for_all(
    clients: Clients, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count_reads(monkeypatch)
    events = [iter(clients.follow()) for _ in range(3)]

    acts: list[Callable[[], None]] = [lambda: record(store, "one"), lambda: settle_all(store, Done())]
    for act in acts:
        act()
        assert [next(each)["job_id"] for each in events] == ["one"] * 3
    assert len(reads) == len(set(reads)) == 2


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The positions after which the store is read from now on, where there is something."""
    reads: list[str] = []
    after = EventFeed.after

    def counted(feed: EventFeed, position: Position) -> FeedPage:
        page = after(feed, position)
        if page.events:
            reads.append(str(position))
        return page

    monkeypatch.setattr(EventFeed, "after", counted)
    return reads


@pytest.mark.usefixtures("quick")
def test_what_other_processes_do_is_sent_too(clients: Clients, store: SqlStore) -> None:
    events = iter(clients.follow())

    with closing(SqlStore.open(str(store.database.url))) as other:
        record(other, "elsewhere")

    assert next(events)["job_id"] == "elsewhere"


def test_a_client_that_comes_back_misses_nothing(clients: Clients, store: SqlStore) -> None:
    first = clients.follow()
    record(store, "one")
    assert next(iter(first))["job_id"] == "one"
    record(store, "two")
    again = iter(clients.follow(headers={"last-event-id": first.last_id}))

    record(store, "three")
    assert [next(again)["job_id"] for _ in range(2)] == ["two", "three"]


def test_the_last_id_moves_on_though_no_event_matches(clients: Clients, store: SqlStore) -> None:
    stream = clients.follow(route="to-three")
    began = stream.last_id
    record(store, "one")
    record(store, "three")
    assert next(iter(stream))["job_id"] == "three"

    assert Position.parse(stream.last_id).change == Position.parse(began).change + 2


@pytest.mark.usefixtures("quick")
def test_a_silent_stream_is_kept_alive_by_comments(
    clients: Clients, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.0)
    lines = iter(clients.follow().lines)

    assert next(line for line in lines if line.startswith(":")) == ": keep-alive"


@pytest.mark.usefixtures("never_polls")
def test_a_stop_ends_all_streams_at_once(api: Api) -> None:
    with ExitStack() as stack, served(api) as (url, stop):
        streams = [Clients(url, stack).follow() for _ in range(3)]

        stop()

        assert [list(stream) for stream in streams] == [[], [], []]


@pytest.mark.usefixtures("quick")
def test_an_outage_of_the_store_ends_no_stream(
    clients: Clients, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = threading.Event()
    after = EventFeed.after

    def unavailable(feed: EventFeed, position: Position) -> FeedPage:
        if not outage.is_set():
            raise StoreUnavailable("away", kind=StoreFailureKind.LOCKED)
        return after(feed, position)

    monkeypatch.setattr(EventFeed, "after", unavailable)
    with capture_logs() as logs:
        events = iter(clients.follow())
        wait_until(lambda: any(entry["event"] == "events.unavailable" for entry in logs))
        outage.set()
        record(store, "one")
        assert next(events)["job_id"] == "one"


def test_more_followers_than_there_may_be_are_refused(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FOLLOWERS", 1)
    first = clients.follow()

    with httpx.stream("GET", f"{clients.url}/v1/events", timeout=30) as reply:
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    del first  # until here, its connection was open


def test_reading_leaves_the_cpu_to_a_busy_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """``now`` and ``used`` are the clocks: time that has passed, and CPU time of the process."""
    now = used = 100.0
    backlog = False
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    monkeypatch.setattr(clock, "process_cpu", lambda: used)
    pace = module.Pace(lambda: backlog)
    assert pace.may_read()

    pace.took(0.01)
    assert not pace.may_read()
    now = now + 0.012  # idle
    assert pace.may_read()

    pace.took(0.01)
    now, used = now + 0.8, used + 0.8  # busy all the time
    assert not pace.may_read()
    now, used = now + 0.4, used + 0.4
    assert pace.may_read()

    backlog = True
    pace.took(0.01)
    now, used = now + 60.0, used + 0.8  # others have the CPU, so it seems to be idle
    assert not pace.may_read()
    used = used + 0.4
    assert pace.may_read()
