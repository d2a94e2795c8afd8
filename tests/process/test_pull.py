"""Applications that pull from a real daemon, and what kills, stops and reloads do to their deliveries."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon_http import unix_client
from tests.support.program import Place, Program
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

TO_APPLICATIONS = """\
[[routes]]
name = "all"
retry = {{ initial_backoff = "0s" }}
handlers = [{{ use = "pull", name = "out" }}]
"""
TO_FILE = """\
[[routes]]
name = "all"
handlers = [{{ use = "jsonl", name = "out", path = "{folder}/results.jsonl" }}]
"""


@pytest.fixture
def socket_path(place: Place) -> Path:
    place.settings(TO_APPLICATIONS)
    return place.folder / "http.sock"


def start(place: Place, socket_path: Path, **settings: Any) -> Program:
    return place.run(http__listen=f"unix:{socket_path}", dispatch__lease="2s", **settings).ready()


def claim(client: httpx.Client, *, limit: int = 1, **parameters: Any) -> list[dict[str, Any]]:
    """Until there is something to pull."""
    while True:
        answer = client.post("/v1/routes/all/claim", params={"wait": 60, "limit": limit, **parameters})
        assert answer.status_code == 200, answer.text
        if found := answer.json()["deliveries"]:
            return list(found)


def settle(client: httpx.Client, pulled: dict[str, Any], action: str = "done") -> httpx.Response:
    body = {"action": action, "attempt": pulled["attempt"]}
    return client.post(f"/v1/deliveries/{pulled['delivery']}", json=body)


def test_one_that_waits_gets_what_arrives_and_settles_it(place: Place, socket_path: Path) -> None:
    program = start(place, socket_path)
    with unix_client(socket_path) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(claim, client)
        place.send("one")
        (pulled,) = waiting.result()

        assert (pulled["job_id"], pulled["attempt"], pulled["route"]) == ("one", 1, "all")
        assert settle(client, pulled).json()["state"] == "done"
        assert place.delivery_states() == {"done": 1}
    assert program.stop() == 0


def test_what_a_killed_application_had_is_pulled_again_under_the_same_key(
    place: Place, socket_path: Path
) -> None:
    program = start(place, socket_path)
    place.send("one")
    with unix_client(socket_path) as killed:
        (lost,) = claim(killed, lease=1)

    with unix_client(socket_path) as client:
        (pulled,) = claim(client)
        assert (pulled["key"], pulled["attempt"]) == (lost["key"], 2)
        assert settle(client, lost).status_code == 409
        assert settle(client, pulled).json()["state"] == "done"
    assert program.stop() == 0


def test_what_was_pulled_before_the_daemon_was_killed_is_settled_after_that(
    place: Place, socket_path: Path
) -> None:
    killed = start(place, socket_path)
    place.send("one", "two", "three")
    pulled: list[dict[str, Any]] = []
    with unix_client(socket_path) as client:
        while len(pulled) < 2:
            pulled += claim(client, limit=2 - len(pulled), lease=3600)
    killed.kill()

    program = start(place, socket_path)
    with unix_client(socket_path) as client:
        assert [settle(client, each).json()["state"] for each in pulled] == ["done", "done"]
        (last,) = claim(client)
        assert {last["job_id"], *(each["job_id"] for each in pulled)} == {"one", "two", "three"}
        assert last["attempt"] <= 2  # the kill may have come while it was being offered
    assert program.stop() == 0


def test_a_stop_ends_a_wait_and_leaves_the_deliveries_offered(place: Place, socket_path: Path) -> None:
    program = start(place, socket_path)
    with unix_client(socket_path) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/v1/routes/all/claim", params={"wait": 60})
        assert client.get("/healthz").status_code == 200
        program.send(signal.SIGTERM)
        answer = waiting.result()
        # A request that came too late for the wait is refused.
        assert (answer.status_code, answer.json().get("deliveries")) in ((200, []), (503, None))
    assert program.wait() == 0


def test_a_reload_gives_what_was_offered_to_the_new_handler(place: Place, socket_path: Path) -> None:
    program = start(place, socket_path)
    place.send("one", "two")
    with unix_client(socket_path) as client:
        (pulled,) = claim(client, lease=3600)
        place.settings(TO_FILE)
        program.send(signal.SIGHUP)

        wait_until(lambda: len(place.lines()) == 1)
        assert client.post("/v1/routes/all/claim").status_code == 404
        assert settle(client, pulled).json()["state"] == "done"
        (line,) = place.lines()
        assert {line["job_id"], pulled["job_id"]} == {"one", "two"}
    assert program.stop() == 0


def test_a_reload_lets_applications_pull_what_a_handler_could_not_do(place: Place, socket_path: Path) -> None:
    place.settings(TO_FILE.replace("{folder}", "{folder}/missing"))
    (place.folder / "missing").mkdir()
    program = start(place, socket_path)
    (place.folder / "missing").rmdir()
    place.send("one")
    wait_until(lambda: place.delivery_states().get("pending", 0) == 1)
    place.settings(TO_APPLICATIONS)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))  # before, there is no such route

    with unix_client(socket_path) as client:
        (pulled,) = claim(client)
        assert pulled["job_id"] == "one"
    assert program.stop() == 0


def test_a_drain_does_not_wait_for_applications(place: Place, socket_path: Path) -> None:
    place.send("one", "two")

    assert place.run("--drain", http__listen=f"unix:{socket_path}").wait() == 0

    assert place.delivery_states() == {"pending": 2}
    program = start(place, socket_path)
    with unix_client(socket_path) as client:
        assert claim(client)[0]["attempt"] == 1
    assert program.stop() == 0


def test_a_claim_is_refused_while_the_store_is_locked_and_works_after_that(
    place: Place, socket_path: Path
) -> None:
    program = start(place, socket_path, store__timeout="1s")
    place.send("one")
    with unix_client(socket_path) as client:
        (pulled,) = claim(client)
        with place.store() as store, store.database.write() as connection:
            connection.exec_driver_sql("UPDATE deliveries SET queue = queue")
            answer = settle(client, pulled)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            connection.rollback()
        answer = settle(client, pulled)
        while answer.status_code == 503:  # the machine is slow
            answer = settle(client, pulled)
        assert answer.json()["state"] == "done"
    assert program.stop() == 0
