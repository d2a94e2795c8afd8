"""Which results go to which handlers."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from listener.core.model import Job, Result, ResultStatus, RoutingDecision, Target
from listener.formats import lenient_json
from listener.formats.callback import decode
from listener.formats.setup_message import setup_message
from listener.rules.routing import (
    Correlation,
    Match,
    Mismatch,
    Rule,
    decider,
    first_match,
    match_context,
    mismatch,
)
from listener.rules.verification import Verification
from tests.support.builders import NOON, a_callback, a_job, a_result
from tests.support.cases import each_case

MINUTE = timedelta(minutes=1)
WORKFLOW = {"job_id": "", "run_id": "R1", "type": "Report", "activity_job_ids": ("j1", "j2")}


def a_rule(name: str = "videos", **match: Any) -> Rule:
    return Rule(name=name, match=Match(**match), handlers=("log", "webhook"))


def matches(result: Result, *, job: Job | None = None, **match: Any) -> bool:
    return first_match([a_rule(**match)], match_context(result, job, "q")) is not None


JSON = '{"route":"clips","tenant":{"id":7,"live":true},"a.b":"dotted","a":{"b":"nested"},"none":null}'


@each_case(
    ("match", "result", "expected"),
    [
        pytest.param({}, {}, True, id="no-conditions"),
        pytest.param({"function": "VideoH2V"}, {}, True, id="function"),
        pytest.param({"function": "videoh2v"}, {}, False, id="function-is-exact"),
        pytest.param({"function": ["Cover", "VideoH2V"]}, {}, True, id="any-of-a-list"),
        pytest.param({"function": ("Cover", "ASR")}, {}, False, id="none-of-a-list"),
        pytest.param({"function": ()}, {}, True, id="an-empty-list-asks-nothing"),
        pytest.param({"function": ""}, {}, False, id="an-empty-value-asks-for-an-empty-one"),
        pytest.param({"type": "IPRODUCTION"}, {}, True, id="type-ignores-case"),
        pytest.param({"type": "Transcode"}, {}, False, id="other-type"),
        pytest.param({"state": "success"}, {}, True, id="state-ignores-case"),
        pytest.param({"state": "Fail"}, {}, False, id="other-state"),
        pytest.param({"queue": "q"}, {}, True, id="queue"),
        pytest.param({"queue": "Q1"}, {}, False, id="other-queue"),
        pytest.param({"pipeline": "p1"}, {"pipeline": "p1"}, True, id="pipeline"),
        pytest.param({"pipeline": "p1"}, {}, False, id="no-pipeline"),
        pytest.param({"route": "clips"}, {"user_data": JSON}, True, id="route-in-json"),
        pytest.param({"route": "clips"}, {"user_data": "clips:1"}, True, id="route-in-text"),
        pytest.param({"route": "clips"}, {}, False, id="no-user-data"),
        pytest.param({"user_data": "order-*"}, {"user_data": "order-\n7"}, True, id="glob"),
        pytest.param({"user_data": "ORDER-*"}, {"user_data": "order-7"}, False, id="glob-is-exact-in-case"),
        pytest.param({"user_data": ["a*", "o?"]}, {"user_data": "ox"}, True, id="any-of-several-globs"),
        pytest.param({"user_data": "*"}, {}, True, id="glob-for-anything-even-nothing"),
        pytest.param({"data": {"tenant.id": 7}}, {"user_data": JSON}, True, id="dotted-key"),
        pytest.param({"data": {"tenant.id": [6, 7]}}, {"user_data": JSON}, True, id="any-of-several-values"),
        pytest.param({"data": {"tenant.id": "7"}}, {"user_data": JSON}, False, id="a-number-is-no-string"),
        pytest.param({"data": {"tenant.live": True}}, {"user_data": JSON}, True, id="true"),
        pytest.param({"data": {"tenant.live": 1}}, {"user_data": JSON}, False, id="true-is-not-one"),
        pytest.param({"data": {"a.b": "dotted"}}, {"user_data": JSON}, True, id="key-with-a-dot-first"),
        pytest.param({"data": {"a.b": "nested"}}, {"user_data": JSON}, False, id="not-what-it-hides"),
        pytest.param({"data": {"none": []}}, {"user_data": JSON}, True, id="present-with-any-value"),
        pytest.param({"data": {"nope": []}}, {"user_data": JSON}, False, id="not-present"),
        pytest.param({"data": {"route.x": "y"}}, {"user_data": JSON}, False, id="path-through-a-string"),
        pytest.param({"data": {"x": 1}}, {"user_data": "x:1"}, False, id="text-has-no-members"),
        pytest.param({"function": "VideoH2V", "state": "Fail"}, {}, False, id="all-must-be-met"),
    ],
)
def test_conditions(match: dict[str, Any], result: dict[str, Any], expected: bool) -> None:
    assert matches(a_result(**result), **match) is expected


def a_run(*activities: dict[str, Any]) -> Result:
    """The Report of a run with these activities."""
    document = {"RunId": "R1", "Type": "Report", "MediaWorkflowExecution": {"ActivityList": list(activities)}}
    return decode(json.dumps(document | {"State": "Success"}))


@each_case(
    ("wanted", "expected"),
    [
        pytest.param("Fail", True, id="one-activity-has-it"),
        pytest.param("fail", True, id="in-any-case"),
        pytest.param(["Cancelled", "Skipped"], True, id="any-of-several-of-one-that-is-no-job"),
        pytest.param("Cancelled", False, id="none-has-it"),
        pytest.param([], True, id="an-empty-list-asks-nothing"),
    ],
)
def test_a_report_is_matched_by_the_states_of_its_activities(wanted: Any, expected: bool) -> None:
    skipped, failed = {"Type": "Snapshot", "State": "Skipped"}, {"JobId": "j2", "State": "TranscodeFail"}

    report = a_run({"JobId": "j1", "State": "Success"}, failed, skipped)

    assert matches(report, activity_state=wanted) is expected


def test_only_workflows_have_activities() -> None:
    raw = a_callback(ActivityList=[{"State": "Fail"}])

    assert not matches(a_run(), activity_state="Success")
    assert not matches(a_result(raw=raw), activity_state="Fail")


CENSORED = {"Type": "MediaCensor", "State": "Success"}
VERDICT = {"Result": "Block", "Count": 5, "TopVideoCensorResult": {"Suggestion": "block", "a.b": 1}}


@each_case(
    ("match", "expected"),
    [
        pytest.param({"Result": "Block"}, True, id="member"),
        pytest.param({"RESULT": "Block"}, True, id="names-ignore-case"),
        pytest.param({"Result": "block"}, False, id="values-do-not"),
        pytest.param({"Result": ["Review", "Block"]}, True, id="any-of-several"),
        pytest.param({"Count": 5}, True, id="number"),
        pytest.param({"Count": "5"}, False, id="a-number-is-no-string"),
        pytest.param({"topVideoCensorResult.suggestion": "block"}, True, id="dotted-path"),
        pytest.param({"TopVideoCensorResult.A.b": 1}, False, id="a-key-with-a-dot-is-one-step"),
        pytest.param(
            {"TopVideoCensorResult": {"SUGGESTION": "block", "a.b": 1}}, True, id="names-within-a-value"
        ),
        pytest.param({"TopVideoCensorResult": []}, True, id="present-with-any-value"),
        pytest.param({"Nope": []}, False, id="not-present"),
        pytest.param({"Result": "Block", "Count": 6}, False, id="all-must-be-met"),
    ],
)
@each_case("nested", [False, True])
def test_a_callback_is_matched_by_its_members_whether_nested_or_not(
    match: dict[str, Any], expected: bool, nested: bool
) -> None:
    inner = {"JobId": "c1"} | VERDICT
    document = CENSORED | ({"MediaCensorJobNotify": inner} if nested else inner)

    assert matches(decode(json.dumps(document)), callback=match) is expected


def test_a_nested_member_is_also_found_at_its_place() -> None:
    document = CENSORED | {"MediaCensorJobNotify": {"JobId": "c1"} | VERDICT}

    assert matches(decode(json.dumps(document)), callback={"MediaCensorJobNotify.Result": "Block"})


def test_a_result_without_a_readable_callback_matches_no_condition_on_it() -> None:
    assert not matches(a_result(raw=""), callback={"JobId": []})
    assert not matches(a_result(raw="{", run_id="R1"), activity_state="Fail")


def test_a_callback_is_parsed_once_and_only_if_a_rule_gets_that_far(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(lenient_json, "parse", lambda text: parsed.append(text) or {})
    rules = [
        a_rule(state="Fail", callback={"A": 1}),
        a_rule(function="Cover", activity_state="Fail"),
        a_rule(),
    ]
    late = [a_rule(callback={"A": 1}), a_rule(callback={"B": 1}), a_rule()]

    assert first_match(rules, match_context(a_result(), None, "q")) is rules[2]
    assert parsed == []
    assert first_match(late, match_context(a_result(), None, "q")) is late[2]
    assert len(parsed) == 1


@each_case(
    ("match", "of_job"),
    [
        pytest.param({"function": "Cover"}, {"function": "Cover"}, id="function"),
        pytest.param({"pipeline": "p1"}, {"pipeline": "p1"}, id="pipeline"),
        pytest.param({"route": "clips"}, {"user_data": "clips:1"}, id="user-data"),
        pytest.param({"type": "iproduction"}, {"function": "Cover"}, id="type"),
    ],
)
def test_what_the_result_leaves_out_is_taken_from_its_job(
    match: dict[str, Any], of_job: dict[str, Any]
) -> None:
    bare = a_result(function="", pipeline="", user_data=None, type="")

    assert matches(bare, job=a_job(**of_job), **match)
    assert not matches(bare, **match)


def test_a_type_that_the_result_has_is_not_replaced_and_of_an_unknown_kind_there_is_none() -> None:
    assert matches(a_result(type="Transcode"), job=a_job(), type="Transcode")
    assert matches(a_result(type=""), job=a_job(function=""), type="")
    assert matches(a_result(**WORKFLOW | {"type": ""}), job=a_job(job_id="j1"), type="")


def test_a_forged_callback_does_not_pick_the_route_of_a_job_that_we_submitted() -> None:
    result = a_result(user_data="a:1", function="VideoH2V", pipeline="p1")
    job = a_job(function="Cover", user_data="b:1", pipeline="p2")

    assert matches(result, job=job, function="Cover", route="b", pipeline="p2")
    assert not matches(result, job=a_job(user_data=None), route="a")


def test_a_workflow_says_more_about_itself_than_the_job_that_is_its_activity() -> None:
    report = a_result(**WORKFLOW, user_data="a:1")

    assert matches(report, job=a_job(job_id="j1", user_data="b:1"), route="a")


def test_the_first_rule_that_matches_wins() -> None:
    rules = [a_rule("fails", state="Fail"), a_rule("videos"), a_rule("rest")]

    chosen = first_match(rules, match_context(a_result(), None, "q"))

    assert chosen is rules[1]


def test_the_first_condition_that_is_not_met_is_named_with_what_was_found() -> None:
    context = match_context(a_result(function="Cover"), None, "q")

    failed = mismatch(Match(state="Success", function=("ASR", "VideoSplit"), queue="other"), context)

    assert failed == Mismatch(
        condition="function", wanted=("ASR", "VideoSplit"), found="Cover", missing=False, met=1
    )
    assert mismatch(Match(function="Cover"), context) is None


@each_case("state", ["Analysing", "Running", "", "Paused"])
def test_a_state_that_is_no_outcome_only_goes_to_rules_that_name_it(state: str) -> None:
    result = a_result(state=state)

    assert not matches(result)
    assert not matches(result, function="VideoH2V")
    assert matches(result, state=["Success", state.upper()])


def test_patterns_full_of_stars_take_linear_time() -> None:
    """A backtracking matcher would need longer than the age of the universe for this one."""
    started = time.perf_counter()

    assert not matches(a_result(user_data="a" * 65_536), user_data="*a" * 30 + "*b")
    assert time.perf_counter() - started < 5


def decision(
    result: Result, job: Job | None = None, *, correlation: Correlation, over: bool = False, rules: Any = None
) -> RoutingDecision:
    rules = [a_rule()] if rules is None else rules
    return decider(rules, correlation, now=NOON, wait_over=over)(result, job, "q")


TARGETS = (Target("videos", "log"), Target("videos", "webhook"))
ROUTED = RoutingDecision(status=ResultStatus.ROUTED, targets=TARGETS)
UNKNOWN = "no job with this id in the store"


@each_case("unknown", ["deliver", "drop", "dead-letter"])
@each_case("over", [False, True])
def test_a_known_job_is_routed_whatever_the_policy(unknown: str, over: bool) -> None:
    assert decision(a_result(), a_job(), correlation=Correlation(unknown, MINUTE), over=over) == ROUTED


@each_case("unknown", ["deliver", "drop", "dead-letter"])
def test_an_unknown_job_is_waited_for(unknown: str) -> None:
    waiting = decision(a_result(), correlation=Correlation(unknown, MINUTE))

    assert waiting == RoutingDecision(status=ResultStatus.WAITING, wait_until=NOON + MINUTE)


AFTER_WAIT = [
    pytest.param("deliver", ROUTED, id="deliver"),
    pytest.param("drop", RoutingDecision(status=ResultStatus.DROPPED, reason=UNKNOWN), id="drop"),
    pytest.param(
        "dead-letter",
        RoutingDecision(status=ResultStatus.REFUSED, targets=TARGETS, reason=UNKNOWN),
        id="dead-letter",
    ),
]


@each_case(("unknown", "expected"), AFTER_WAIT)
def test_after_the_wait_the_policy_decides(unknown: str, expected: RoutingDecision) -> None:
    assert decision(a_result(), correlation=Correlation(unknown, MINUTE), over=True) == expected


@each_case(("unknown", "expected"), AFTER_WAIT)
def test_without_a_wait_the_policy_decides_at_once(unknown: str, expected: RoutingDecision) -> None:
    assert decision(a_result(), correlation=Correlation(unknown, timedelta(0))) == expected


def test_a_workflow_is_known_by_any_of_its_activities_and_waited_for_otherwise() -> None:
    correlation, report = Correlation("drop", MINUTE), a_result(**WORKFLOW)

    assert decision(report, a_job(job_id="j2"), correlation=correlation) == ROUTED
    assert decision(report, correlation=correlation).status is ResultStatus.WAITING
    assert decision(report, correlation=correlation, over=True).status is ResultStatus.DROPPED


@each_case(
    ("state", "status"),
    [
        pytest.param("Success", ResultStatus.PARKED, id="outcome"),
        pytest.param("Paused", ResultStatus.PARKED, id="state-never-heard-of"),
        pytest.param("", ResultStatus.PARKED, id="no-state"),
        pytest.param("Analysing", ResultStatus.PROGRESS, id="progress"),
    ],
)
def test_a_result_without_a_route_is_parked(state: str, status: ResultStatus) -> None:
    decided = decision(
        a_result(state=state), a_job(), correlation=Correlation(), rules=[a_rule(queue="other")]
    )

    assert decided.status is status
    assert decided.targets == ()


@each_case("unknown", ["deliver", "drop", "dead-letter"])
def test_progress_that_no_rule_can_want_is_not_waited_for(unknown: str) -> None:
    correlation = Correlation(unknown, MINUTE)

    assert decision(a_result(state="Analysing"), correlation=correlation).status is ResultStatus.PROGRESS


def test_progress_that_a_rule_names_waits_for_its_job_like_an_outcome() -> None:
    rules = [a_rule(state="Analysing", function="VideoH2V")]

    waiting = decision(a_result(state="Analysing"), correlation=Correlation("drop", MINUTE), rules=rules)

    assert waiting.status is ResultStatus.WAITING


EVERYTHING = a_rule(state=["Submitted", "Success"])


def a_setup_message(**fields: Any) -> Result:
    return replace(decode(setup_message("token")), **fields)


@each_case("verify", ["never", "known", "always"])
@each_case("unknown", ["deliver", "drop", "dead-letter"])
def test_no_handler_gets_the_test_message_of_setup(unknown: str, verify: Any) -> None:
    verification = Verification(policy=verify, tenants=frozenset({""}))
    correlation = Correlation(unknown, MINUTE, verification)

    decided = decision(a_setup_message(), correlation=correlation, rules=[EVERYTHING])

    assert (decided.status, decided.targets) == (ResultStatus.DROPPED, ())
    assert "mns-listener setup" in decided.reason


@each_case(
    "forged",
    [
        pytest.param({"state": "Success"}, id="an-outcome"),
        pytest.param({"job_id": "j1"}, id="the-id-of-a-job"),
        pytest.param({"activity_job_ids": ("j1",)}, id="activities"),
    ],
)
def test_a_forged_test_message_cannot_suppress_an_outcome(forged: dict[str, Any]) -> None:
    decided = decision(a_setup_message(**forged), a_job(), correlation=Correlation(), rules=[EVERYTHING])

    assert decided.status is ResultStatus.ROUTED
