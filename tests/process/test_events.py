"""Events of a real daemon over its unix socket."""

from __future__ import annotations

import httpx
import pytest

from tests.support.event_stream import EventStream
from tests.support.program import Place

pytestmark = pytest.mark.process


def test_a_follower_sees_what_the_daemon_does_until_it_stops(place: Place) -> None:
    place.settings()
    daemon = place.run(http__listen=f"unix:{place.folder}/http.sock").ready()
    transport = httpx.HTTPTransport(uds=f"{place.folder}/http.sock")
    with (
        httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client,
        client.stream("GET", "/v1/events") as reply,
    ):
        lines = reply.iter_lines()
        assert next(lines).startswith("retry: ")
        events = iter(EventStream(lines))
        place.send("job-1")
        seen = [next(events) for _ in range(2)]

        assert [(event["event"], event["job_id"], event["state"]) for event in seen] == [
            ("result.recorded", "job-1", "Success"),
            ("delivery.settled", "job-1", "done"),
        ]
        assert daemon.stop() == 0
        assert list(events) == []
