"""What one daemon has received is recorded, redacted, and replayed into another one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.builders import a_callback
from tests.support.callback_samples import QUARANTINE, ROUTES, SHAPES
from tests.support.program import Place, configured_place

pytestmark = pytest.mark.process

#: By the route in the user data, which is all that stays of them.
BY_USER_DATA = """
[[routes]]
name = "named"
match = {{ route = "covers" }}
handlers = [{{ use = "jsonl", path = "{folder}/results.jsonl" }}]
"""


def ledger(place: Place) -> Counter[tuple[str, str, str]]:
    return Counter(
        (line["route"], line["job_id"] or line["run_id"] or line["media_id"], line["state"])
        for line in place.lines("results.jsonl")
    )


def drain(place: Place) -> None:
    assert place.run("--drain", correlation__verify="never").wait() == 0


def test_a_redacted_recording_reaches_the_same_routes_of_another_daemon(place: Place, tmp_path: Path) -> None:
    place.settings(BY_USER_DATA + ROUTES)
    named = a_callback(JobId="named", FunctionName="Odd", UserData="covers:Zoe Doe")
    place.send_raw(named, *(shape.of(shape.name) for shape in SHAPES))
    drain(place)

    recording = place.folder / "calls.jsonl"
    recorder = place.start("record", "--from-store", "--redact", "--output", str(recording))
    assert recorder.wait() == 0, recorder.stderr
    assert "Zoe" not in recording.read_text(encoding="utf-8")

    (other_folder := tmp_path / "other").mkdir()
    with configured_place(other_folder) as other:
        other.settings(BY_USER_DATA + ROUTES)
        replayed = other.start("replay", str(recording))
        assert replayed.wait() == 0, replayed.stderr
        drain(other)
        assert ledger(other) == ledger(place)
        assert len(other.quarantined()) == len(place.quarantined())

    assert ("named", "named", "Success") in ledger(place)
    assert len(ledger(place)) == 1 + sum(shape.route != QUARANTINE for shape in SHAPES)
