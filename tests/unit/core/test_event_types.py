"""Which events end the job that they name."""

from __future__ import annotations

from listener.core.event_types import ends_job
from tests.support.builders import a_result
from tests.support.cases import each_case


@each_case(
    ("type_", "ends"),
    [
        ("ProduceMediaComplete", True),
        ("MediaConvertComplete", True),
        ("mediaconvertcomplete", True),
        ("NeverHeardOfComplete", True),
        ("MediaConvertOutputComplete", False),
        ("MediaConvertOutputGroupComplete", False),
        ("StreamTranscodeComplete", False),
        ("TranscodeComplete", False),
        ("LiveRecordVideoComposeStart", False),
        ("LiveRecordTaskStatus", False),
    ],
)
def test_events_that_report_a_whole_job_end_it(type_: str, ends: bool) -> None:
    event = a_result(job_id="j1", type=type_, event=f"j1/{type_}@t/digest")

    assert ends_job(type_) is ends
    assert event.terminal_id == ("j1" if ends else "")
    assert event.dedup_key == event.key == event.event
    assert event.subject == "j1"


def test_an_event_about_a_medium_ends_nothing() -> None:
    event = a_result(job_id="", media_id="v1", type="SnapshotComplete", event="v1/SnapshotComplete@t/digest")

    assert event.terminal_id == ""
    assert event.subject == "v1"
    assert event.key == event.event


def test_an_event_without_any_id_is_known_by_itself() -> None:
    assert a_result(job_id="", event="/SnapshotComplete@t/digest").subject == "/SnapshotComplete@t/digest"


def test_an_event_that_is_still_in_progress_ends_nothing() -> None:
    assert a_result(type="AIProduceComplete", state="Processing", event="e").terminal_id == ""
