"""The document of a result: what programs in other languages get, and what is read back from it."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from listener import JobResult
from listener.core.outputs import (
    Activity,
    CoverImage,
    FingerprintMatch,
    InlineFile,
    MatchedPart,
    MediaProperties,
    ModerationResult,
    OutputFile,
    Outputs,
    Segment,
    TagResult,
    Template,
)
from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.json_schema import validator
from tests.support.results import a_job_result

SCHEMA = json.loads((ROOT / "docs" / "result.schema.json").read_text("utf-8"))
NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
#: The values within a document, by the names of their schemas.
NESTED = {
    "file": OutputFile,
    "inline": InlineFile,
    "cover": CoverImage,
    "segment": Segment,
    "properties": MediaProperties,
    "template": Template,
    "moderation_result": ModerationResult,
    "matched_part": MatchedPart,
    "match": FingerprintMatch,
    "tag_result": TagResult,
    "activity": Activity,
    "outputs": Outputs,
}
ACTIVITY = Activity(name="Act-1", type="Transcode", job_id="1", state="Fail", started_at=NOON)
OUTPUTS = Outputs(
    code="Success",
    files=(OutputFile(path="out/a.jpg", bucket="media", width=1280, duration=1.5, role="snapshot"),),
    properties=MediaProperties(width=1280, video_streams=({"Index": 0},), others={"FileMd5": "a"}),
    templates=(Template(id="S0-20", settings={"State": "Normal"}),),
    suggestion="Block",
    moderation=(ModerationResult(part="cover", rate=99.9, image=OutputFile(path="a.jpg")),),
    matches=(FingerprintMatch(media="video", parts=(MatchedPart(start=46.0),)),),
    tags=(TagResult(type="TextLabel", data={"tags": []}),),
    activities=(ACTIVITY,),
    inline=(InlineFile(content="UklG"),),
    covers=(CoverImage(path="out/a.jpg", score=8.2, time_ms=1000.0),),
    segments=(Segment(start=39.32, end=63.85, title="副歌"),),
    splits=(Segment(start=1.0, end=2.0),),
    beats=(0.5, 1.0),
    details=({"Status": "Success"},),
    problems=("one",),
    raw="{}",
)
RESULTS = [
    pytest.param(JobResult(job_id="1", state="Success"), id="only-what-is-required"),
    pytest.param(a_job_result(user_data=None, data={}), id="without-user-data"),
    pytest.param(
        a_job_result(
            outputs=OUTPUTS,
            details=({"a": [1]}, "b"),
            submitted_at=NOON,
            received_at=NOON + timedelta(hours=1),
            finished_at=NOON + timedelta(hours=1),
            source="query",
            activities=(ACTIVITY, Activity()),
        ),
        id="with-everything",
    ),
]


def problems_of(document: Any) -> list[str]:
    return [error.message for error in validator()(SCHEMA).iter_errors(document)]


@each_case("result", RESULTS)
def test_the_document_is_read_back_as_it_was(result: JobResult) -> None:
    document = json.loads(json.dumps(result.to_document()))

    assert JobResult.from_document(document) == result


@each_case("result", RESULTS)
def test_the_document_is_as_its_schema_says(result: JobResult) -> None:
    assert problems_of(json.loads(json.dumps(result.to_document()))) == []


def test_the_schema_is_valid_and_names_every_member() -> None:
    validator().check_schema(SCHEMA)

    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(a_job_result().to_document())


@each_case(("name", "value"), NESTED.items())
def test_the_schema_names_every_member_of_what_is_nested(name: str, value: type) -> None:
    nested = SCHEMA["$defs"][name]

    assert list(nested["properties"]) == nested["required"] == [part.name for part in fields(value)]


def test_the_schema_has_no_other_nested_values() -> None:
    assert SCHEMA["$defs"].keys() == NESTED.keys()


@each_case("member", SCHEMA["required"])
def test_the_schema_refuses_a_document_without_one_of_its_members(member: str) -> None:
    document = a_job_result().to_document()
    del document[member]

    assert len(problems_of(document)) == 1


def test_times_are_in_utc_and_iso_8601() -> None:
    shanghai = NOON.astimezone(timezone(timedelta(hours=8)))

    document = a_job_result(received_at=shanghai).to_document()

    assert document["received_at"] == "2026-05-01T12:00:00.000250+00:00"
    assert document["schema"] == 1


def test_members_that_a_later_release_adds_are_ignored() -> None:
    document = a_job_result(outputs=OUTPUTS).to_document()
    document["new"] = document["outputs"]["new"] = document["outputs"]["files"][0]["new"] = 1

    assert JobResult.from_document(document) == a_job_result(outputs=OUTPUTS)


@each_case(
    ("document", "problem"),
    [
        ({"job_id": "1", "state": "Success"}, "schema = None is not supported; expected 1"),
        ({"schema": 2, "job_id": "1", "state": "Success"}, "schema = 2 is not supported; expected 1"),
        ({"schema": 1, "job_id": "1"}, "the document has no member 'state'"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        JobResult.from_document(document)
