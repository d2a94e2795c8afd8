"""Where a real daemon serves the API, and to whom."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest

from tests.support.daemon_http import tcp_client, unix_client
from tests.support.program import Place, unused_endpoint

pytestmark = pytest.mark.process

CONFIG_ERROR = 78
TOKEN = "writer-0123456789"


def status(client: httpx.Client, path: str, token: str = "") -> int:
    return client.get(path, headers={"authorization": f"Bearer {token}"} if token else {}).status_code


def test_the_owner_of_the_socket_needs_no_token(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}").ready()

    assert os.stat(path).st_mode & 0o022 == 0
    with unix_client(path) as client:
        assert client.get("/v1").json()["daemon"] == client.get("/healthz").json()["daemon"]
        assert client.get("/v1/openapi.json").json()["openapi"].startswith("3.1")
    assert program.stop() == 0


def test_over_tcp_the_api_needs_a_token_and_health_does_not(place: Place) -> None:
    place.settings()
    (place.folder / "tokens").write_text(f"{TOKEN}\n")
    url = unused_endpoint()
    program = place.run(http__listen=url.removeprefix("http://"), http__token_file="tokens").ready()

    with tcp_client(url) as client:
        assert [status(client, path) for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
        assert (status(client, "/v1"), status(client, "/v1", TOKEN)) == (401, 200)
    assert TOKEN not in program.stderr
    assert program.logs("http.public") == []
    assert program.stop() == 0


@pytest.mark.parametrize("settings", [{}, {"http__token_file": "tokens", "http__api": "false"}])
def test_without_a_token_file_or_the_setting_there_is_no_api(place: Place, settings: dict[str, Any]) -> None:
    place.settings()
    (place.folder / "tokens").write_text(f"{TOKEN}\n")
    url = unused_endpoint()
    program = place.run(http__listen=url.removeprefix("http://"), **settings).ready()

    with tcp_client(url) as client:
        assert (status(client, "/v1", TOKEN), status(client, "/healthz")) == (404, 200)
    assert program.stop() == 0


def test_other_machines_are_let_in_only_with_tokens(place: Place) -> None:
    place.settings()
    listen = unused_endpoint().removeprefix("http://127.0.0.1")
    refused = place.run(http__listen=f"0.0.0.0{listen}")
    assert refused.wait() == CONFIG_ERROR
    assert "or set http.token_file" in refused.stderr

    (place.folder / "tokens").write_text("short\n")
    wrong = place.run(http__listen=f"0.0.0.0{listen}", http__token_file="tokens")
    assert wrong.wait() == CONFIG_ERROR
    assert "line 1: the token is shorter than 16 characters" in wrong.stderr

    (place.folder / "tokens").write_text(f"{TOKEN}\n")
    program = place.run(http__listen=f"0.0.0.0{listen}", http__token_file="tokens").ready()
    assert [each["listen"] for each in program.logs("http.public")] == [f"0.0.0.0{listen}"]
    with tcp_client(f"http://127.0.0.1{listen}") as client:
        assert status(client, "/v1", TOKEN) == 200
    assert program.stop() == 0
