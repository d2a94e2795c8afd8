"""Jobs over the API of a real daemon: submitted, waited for, and what a stop does to those who wait."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from listener.core import clock
from listener.core.model import ResultStatus, RoutingDecision
from tests.support.builders import JOB_ID, a_decoded_message, a_result
from tests.support.daemon_http import unix_client
from tests.support.program import Place

pytestmark = pytest.mark.process

COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}


def test_a_job_is_submitted_and_waited_for(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}").ready()

    with unix_client(path) as client:
        submitted = client.post("/v1/jobs", json=COVER | {"reference": "talk-7"})
        assert submitted.status_code == 201, submitted.text
        job: dict[str, Any] = {"finished_at": None}
        while job["finished_at"] is None:  # once, unless the machine is very slow
            job = client.get("/v1/jobs/talk-7", params={"wait": 60}).json()
        assert job["state"] == "Success"
        assert client.get("/v1/jobs/talk-7/outputs").json()["outputs"]["files"]
        history = client.get("/v1/jobs/talk-7/history").json()
        assert [each["source"] for each in history["results"]] == ["callback"]
        assert client.post("/v1/jobs", json=COVER | {"reference": "talk-7"}).status_code == 200
    assert program.stop() == 0


def test_what_another_process_records_ends_a_wait(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}").ready()
    with unix_client(path) as client, ThreadPoolExecutor(1) as pool, place.store() as store:
        client.put(f"/v1/jobs/{JOB_ID}")
        reply = pool.submit(client.get, f"/v1/jobs/{JOB_ID}", params={"wait": 60})
        outcome = a_decoded_message(result=a_result(job_id=JOB_ID, state="Fail"))
        store.record([outcome], lambda *_: RoutingDecision(status=ResultStatus.PARKED), at=clock.now())
        assert reply.result().json()["state"] == "Fail"
    assert program.stop() == 0


def test_a_stop_answers_those_who_wait(place: Place) -> None:
    place.settings()
    path = place.folder / "http.sock"
    program = place.run(http__listen=f"unix:{path}").ready()
    with unix_client(path) as client, socket.socket(socket.AF_UNIX) as waiting:
        client.put(f"/v1/jobs/{JOB_ID}")
        waiting.connect(str(path))
        waiting.sendall(f"GET /v1/jobs/{JOB_ID}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.get("/healthz").status_code == 200  # the server has read what was sent before
        assert program.stop() == 0
        reply = waiting.makefile("rb").read().decode()

    assert reply.startswith("HTTP/1.1 200")
    assert '"finished_at":null' in reply
