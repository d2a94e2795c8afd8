"""Where a real daemon serves the pages, and to whom."""

from __future__ import annotations

import pytest

from tests.support.daemon_http import tcp_client, unix_client
from tests.support.program import Place, unused_endpoint

pytestmark = pytest.mark.process

TOKEN = "writer-0123456789"


def test_at_a_unix_socket_the_pages_are_beside_the_api_and_health_checks(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}").ready()

    with unix_client(path) as client:
        overview = client.get("/")
        assert (overview.status_code, "<h1>Overview</h1>" in overview.text) == (200, True)
        assert client.get("/queues").text.count("mps-callbacks") == 1
        assert [client.get(each).status_code for each in ("/v1", "/healthz", "/v2")] == [200, 200, 404]
    assert program.stop() == 0


def test_over_tcp_pages_need_a_sign_in_and_refuse_forms_of_other_servers(place: Place) -> None:
    place.settings()
    (place.folder / "tokens").write_text(f"{TOKEN}\n")
    url = unused_endpoint()
    program = place.run(http__listen=url.removeprefix("http://"), http__token_file="tokens").ready()

    with tcp_client(url) as client:
        assert client.get("/").headers["location"] == "/sign-in"
        foreign = {"origin": "https://attacker.example"}
        assert client.post("/sign-in", data={"token": TOKEN}, headers=foreign).status_code == 403
        assert client.post("/sign-in", data={"token": TOKEN}, headers={"origin": url}).status_code == 303
        assert client.get("/").status_code == 200
    assert TOKEN not in program.stderr
    assert program.stop() == 0


def test_without_tokens_there_are_no_pages_over_tcp(place: Place) -> None:
    place.settings()
    url = unused_endpoint()
    program = place.run(http__listen=url.removeprefix("http://")).ready()

    with tcp_client(url) as client:
        assert [client.get(each).status_code for each in ("/", "/sign-in", "/jobs")] == [404] * 3
    assert program.stop() == 0
