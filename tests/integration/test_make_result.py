"""Results that are made for tests of handlers are what handlers of the real program get."""

from __future__ import annotations

from pathlib import Path

import pytest

import listener
from listener import Client
from listener.testing import make_result
from tests.support.program import NOTIFY_URL, configured_place

FOLDER = "oss://media.oss-cn-shanghai.aliyuncs.com"
OUTPUT = f"{FOLDER}/out/{{source}}-{{sequenceId}}"
#: What is different for every job, and the words of a success.
OWN = {
    *("key", "job_id", "route", "queue", "pipeline", "message", "raw"),
    *("submitted_at", "received_at", "finished_at"),
}


@pytest.mark.parametrize(("name", "state"), [("talk", "Success"), ("fail", "Fail")])
def test_a_handler_gets_what_make_result_makes(tmp_path: Path, name: str, state: str) -> None:
    source = f"{FOLDER}/in/{name}.mp4"  # the emulator fails jobs whose input is called so
    with configured_place(tmp_path) as place:
        with Client(tmp_path / "listener.toml") as client:
            listener.submit("Cover", input=source, output=OUTPUT, notify_url=NOTIFY_URL, client=client)
        assert place.run("--drain").wait() == 0
        (got,) = place.lines()

    made = make_result(state=state, input=source, output=OUTPUT).to_document()
    assert got.keys() == made.keys()
    assert {name: got[name] for name in got.keys() - OWN} == {name: made[name] for name in made.keys() - OWN}
