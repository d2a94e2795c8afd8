"""The activities of a workflow, from callbacks and from replies to queries."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.core.documents import to_plain
from listener.core.outputs import Activity
from listener.formats.activities import read
from listener.formats.callback import decode
from tests.support.cases import each_case
from tests.support.job_entries import ENTRIES

LISTED = ENTRIES["Workflow"]["ActivityList"]["Activity"]
FIRST = Activity(
    name="Act-1",
    type="Transcode",
    job_id="2",
    state="Fail",
    code="InvalidParameter",
    message="bad",
    started_at=datetime(2020, 4, 29, 11, 33, 32, tzinfo=UTC),
    ended_at=datetime(2020, 4, 29, 11, 39, tzinfo=UTC),
)


def a_report(activities: Any) -> str:
    execution = {"RunId": "1", "State": "Completed", "ActivityList": activities}
    return json.dumps({"Type": "Report", "RunId": "1", "MediaWorkflowExecution": execution})


def named(*activities: dict[str, Any]) -> list[str]:
    return [each.name for each in read(a_report(list(activities)))]


@each_case(
    "text",
    [
        pytest.param(a_report(LISTED), id="callback"),
        pytest.param(a_report({"Activity": LISTED}), id="query"),
        pytest.param(json.dumps(ENTRIES["Workflow"]), id="execution"),
        pytest.param(a_report(LISTED).replace("MediaWorkflow", "mediaWorkflow"), id="spelling"),
    ],
)
def test_the_activities_are_read_in_chronological_order(text: str) -> None:
    found = read(text)

    assert found[0] == FIRST
    assert [each.name for each in found] == ["Act-1", "Act-Report", "Act-Skip"]
    assert [each.state for each in found] == ["Fail", "Success", "Skipped"]


@each_case("activities", [LISTED, {"Activity": LISTED}])
def test_the_jobs_of_a_workflow_end_with_it_in_either_form(activities: Any) -> None:
    result = decode(a_report(activities))

    assert (result.activity_job_ids, result.activity_states) == (("2",), ("Fail",))


def test_activities_that_start_together_are_in_the_order_of_their_ends() -> None:
    both: dict[str, Any] = {"StartTime": "2020-04-29T11:33:32Z"}

    assert named(
        {"Name": "c"},
        {"Name": "b", **both, "EndTime": "2020-04-29T11:50:00Z"},
        {"Name": "a", **both, "EndTime": "2020-04-29T11:40:00Z"},
        {"Name": "d"},
    ) == ["a", "b", "c", "d"]


def test_of_activities_at_the_same_time_start_is_the_first_and_report_the_last() -> None:
    types = ["Report", "Transcode", "Start"]

    found = read(a_report([{"Type": each, "StartTime": "2020-04-29T11:33:32Z"} for each in types]))

    assert [each.type for each in found] == ["Start", "Transcode", "Report"]


@each_case(
    ("written", "time"),
    [
        ("2016-04-01T02: 53: 41Z", datetime(2016, 4, 1, 2, 53, 41, tzinfo=UTC)),
        ("2016-04-01T02:53:41", datetime(2016, 4, 1, 2, 53, 41, tzinfo=UTC)),
        ("2016-04-01T10:53:41+08:00", datetime(2016, 4, 1, 2, 53, 41, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("soon", None),
        ("", None),
        (1459479221, None),
    ],
)
def test_times_are_in_utc_and_unknown_if_they_cannot_be_read(written: Any, time: datetime | None) -> None:
    (found,) = read(a_report([{"StartTime": written}]))

    assert found.started_at == time


def test_a_state_is_as_in_results() -> None:
    states = ["TranscodeSuccess", "running", "Skipped", "Lost"]

    found = read(a_report([{"State": state} for state in states] + [{"Code": "Success"}]))

    assert [each.state for each in found] == ["Success", "Running", "Skipped", "Lost", "Success"]


@each_case("text", ["", "{}", "[]", "<xml/>", '{"JobId": "1"}', a_report(None), a_report("x")])
def test_what_names_no_activities_has_none(text: str) -> None:
    assert read(text) == ()


ANY = st.recursive(
    st.none() | st.text(max_size=20) | st.integers() | st.sampled_from(["2016-04-01T02: 53: 41Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Activity", "Name", "State", "StartTime", "EndTime"]), inner)
    ),
)


@given(ANY | st.lists(ANY, max_size=3))
@example([{"StartTime": "9999-12-31T23:59:59-23:00"}])
def test_any_list_is_read_and_can_be_written(activities: Any) -> None:
    json.dumps(to_plain(read(a_report(activities))), allow_nan=False)
