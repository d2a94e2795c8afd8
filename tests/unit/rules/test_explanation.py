"""What happens to a message, and why: the explanation agrees with what the listener does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from listener.core.documents import to_plain
from listener.core.model import Job, JobState, Result
from listener.demo import sandbox
from listener.demo.sandbox import DemoJob
from listener.formats import wrapping
from listener.formats.setup_message import setup_message
from listener.formats.wrapping import as_base64
from listener.rules import explanation
from listener.rules.explanation import Explanation, Known, Setup
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Match, Rule
from listener.rules.verification import Verification
from listener.settings.loader import load
from tests.support.builders import NOON, TOKEN, WRAPPINGS, a_callback, a_job, a_result, wrapped
from tests.support.callback_samples import QUARANTINE, ROUTES, SHAPES, Shape
from tests.support.cases import each_case

SHAPE_RULES = load(ROUTES.format(folder="/nowhere"), {}).rules()
RULE = Rule(name="videos", match=Match(function="VideoH2V"), handlers=("log", "webhook"))
ASKED = Verification(policy="known", tenants=frozenset({""}))


def a_setup(*rules: Rule, **fields: Any) -> Setup:
    return Setup(**{"rules": rules or (RULE,), "correlation": Correlation()} | fields)


def explained(body: str, setup: Setup, known: Known | None = None) -> Explanation:
    reading, result = explanation.read(body)
    if result is None:
        return explanation.undecodable(reading, queue="q")
    return explanation.explain(result, known or Known(), setup, queue="q", now=NOON, reading=reading)


def of_result(result: Result, setup: Setup, **known: Any) -> Explanation:
    return explanation.explain(result, Known(**known), setup, queue="q", now=NOON)


def chosen(found: Explanation) -> str:
    """The route that gets it, or what becomes of it instead."""
    matching = [reason.route for reason in found.routes if reason.matches]
    return matching[0] if found.outcome == "routed" else found.outcome


@each_case("how", WRAPPINGS)
@each_case("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_of_a_callback_is_explained_in_every_wrapping(shape: Shape, how: str) -> None:
    found = explained(wrapped(shape.of("an-id"), how), a_setup(*SHAPE_RULES))

    assert chosen(found) == ("quarantined" if shape.route == QUARANTINE else shape.route)
    assert found.reading is not None
    assert [str(each) for each in found.reading.wrappings] == list(reversed(outside(how)))
    assert bool(found.reading.members) is (shape.route != QUARANTINE)
    assert bool(found.reading.error) is (shape.route == QUARANTINE)
    assert json.loads(json.dumps(to_plain(found)))["outcome"] == found.outcome


def outside(how: str) -> list[str]:
    """The wrappers that a name in WRAPPINGS stands for, innermost first."""
    plain = (
        how.removesuffix("-as-documented").replace("topic-simplified-", "").replace("topic-simplified", "raw")
    )
    return [each for each in reversed(plain.split("-of-")) if each != "raw"]


@each_case("demo_job", sandbox.make_jobs(None), ids=lambda job: f"{job.number}-{job.function}")
def test_every_message_of_the_demo_is_explained(demo_job: DemoJob) -> None:
    settings = load(sandbox._settings("/nowhere", "http://127.0.0.1:1"), {})  # type: ignore[arg-type]  # a path
    job = a_job(function=demo_job.function, user_data=demo_job.user_data, token=TOKEN)
    callback = sandbox.callback_of(job)
    setup = a_setup(*settings.rules(), correlation=settings.correlation_rules())
    bodies = [callback, as_base64(callback), wrapping.wrapped(callback, "topic-xml", at=NOON)]
    wanted = replace(demo_job, fails=False).wanted_route  # the failing one is made to fail by the emulator

    assert [chosen(explained(body, setup, Known(job=job, found_by="job id"))) for body in bodies] == [
        wanted
    ] * 3


@each_case("garbage", sandbox.GARBAGE)
def test_garbage_of_the_demo_is_explained(garbage: str) -> None:
    found = explained(garbage, a_setup())

    assert (found.outcome, found.result) == ("quarantined", None)
    assert "quarantine retry" in found.reason


@each_case(
    ("body", "before", "after"),
    [
        pytest.param('{"JobId": 7,, "State": 1}', '{"JobId": 7,', ', "State": 1}', id="json"),
        pytest.param(wrapped('{"JobId":'), '{"JobId":', "", id="json-in-base64"),
        pytest.param("<a>\n<b>\n</c></a>", "<a>\n<b>\n</", "c></a>", id="xml"),
        pytest.param("not base64!", "", "", id="unknown"),
        pytest.param(" " * 80 + "{" + " " * 100 + "x", " " * 60, "x", id="only-what-is-near"),
    ],
)
def test_the_place_where_a_message_cannot_be_read_is_shown(body: str, before: str, after: str) -> None:
    reading, result = explanation.read(body)

    assert result is None
    assert (reading.before, reading.after) == (before, after)


def test_members_that_are_read_are_listed_with_what_they_determine() -> None:
    reading, _ = explanation.read('{"jobId":"a","JobId":"b","State":"Fail","Details":[],"Extra":{"x":1}}')

    assert {each.name: each.fields for each in reading.members} == {
        "jobId": (),
        "JobId": ("job_id",),
        "State": ("state",),
        "Details": ("details",),
        "Extra.x": (),
    }


@each_case(("unknown", "outcome"), [("deliver", "routed"), ("drop", "dropped"), ("dead-letter", "refused")])
def test_what_happens_to_a_result_of_an_unknown_job_is_what_the_settings_say(
    unknown: str, outcome: str
) -> None:
    setup = a_setup(correlation=Correlation(unknown, timedelta(seconds=5)))

    found = of_result(a_result(), setup)

    assert found.outcome == outcome
    assert "no job with this id in the store; it waits 5 s for its job" in found.correlation
    assert f"correlation.unknown = {unknown}" in found.correlation


def test_progress_that_no_route_wants_is_not_waited_for() -> None:
    setup = a_setup(correlation=Correlation("drop", timedelta(seconds=5)))

    found = of_result(a_result(state="Analysing"), setup)

    assert found.outcome == "progress"
    assert "not waited for, since no route asks for the state 'Analysing'" in found.correlation


def test_a_job_that_is_only_listed_as_an_activity_is_not_what_a_report_is_routed_by() -> None:
    rule = Rule(name="mine", match=Match(user_data="mine"), handlers=("log",))
    report = a_result(job_id="", run_id="r", type="Report", function="", activity_job_ids=("j",))
    known = {"job": a_job(job_id="j", user_data="mine"), "found_by": "id of an activity"}

    asked = of_result(report, a_setup(rule, correlation=Correlation(verification=ASKED)), **known)
    never = of_result(report, a_setup(rule), **known)

    assert (asked.outcome, never.outcome) == ("parked", "routed")
    assert "the job j is only listed as an activity" in asked.correlation


def test_a_test_message_of_setup_is_about_no_job() -> None:
    found = explained(setup_message(TOKEN), a_setup(correlation=Correlation("deliver", timedelta(seconds=5))))

    assert (found.outcome, found.correlation) == ("dropped", "it is about no job")


@each_case(
    ("verification", "result", "job", "said"),
    [
        pytest.param(Verification(), {}, True, "correlation.verify is never", id="never"),
        pytest.param(ASKED, {}, False, "the job is not in the store", id="unknown-job"),
        pytest.param(
            ASKED, {"state": "Analysing"}, True, "does not report that the job has ended", id="progress"
        ),
        pytest.param(ASKED, {"source": "query"}, True, "its source is query", id="query"),
        pytest.param(
            replace(ASKED, tenants=frozenset()), {}, True, "it is not configured for the tenant", id="no-mps"
        ),
        pytest.param(ASKED, {}, True, "MPS is asked with QueryIProductionJob", id="asked"),
    ],
)
def test_whether_mps_is_asked_is_said_with_the_reason(
    verification: Verification, result: dict[str, Any], job: bool, said: str
) -> None:
    setup = a_setup(correlation=Correlation(verification=verification))

    found = of_result(a_result(**result), setup, job=a_job() if job else None)

    assert said in found.verification
    assert found.outcome in ("routed", "progress")


@each_case(
    ("known", "outcome"),
    [
        pytest.param({"recorded_state": "Success"}, "duplicate", id="the-same-state"),
        pytest.param({"recorded_state": "Fail"}, "contradiction", id="another-one"),
        pytest.param({"recorded_state": "Fail", "is_open": True}, "duplicate", id="not-decided-about"),
        pytest.param({}, "routed", id="nothing"),
    ],
)
def test_a_further_copy_changes_nothing(known: dict[str, Any], outcome: str) -> None:
    found = of_result(a_result(), a_setup(), **known)

    assert found.outcome == outcome
    assert bool(found.deliveries) is (outcome == "routed")


def test_the_result_of_a_job_that_was_reported_lost_is_dropped() -> None:
    found = of_result(a_result(), a_setup(), job=a_job(state=JobState.LOST), found_by="job id")

    assert (found.outcome, found.reason) == ("dropped", "the job was already reported as Lost")
    assert found.correlation.endswith("found by its job id")


@each_case(
    ("result", "job", "setup", "said"),
    [
        pytest.param({}, a_job(), {}, "asked for with QueryIProductionJob, for at most 60 s", id="asked"),
        pytest.param({"state": "Cancelled"}, a_job(), {}, "only results in the state", id="state"),
        pytest.param({}, a_job(), {"unenriched": frozenset({"videos"})}, "enrich = false", id="route"),
        pytest.param({}, a_job(tenant="other"), {}, "not configured for its tenant", id="tenant"),
        pytest.param({"outputs": ""}, a_job(), {}, "has reported them already", id="known"),
        pytest.param({"type": "Hologram"}, None, {}, "no query for this kind", id="kind"),
    ],
)
def test_whether_handlers_get_the_outputs_is_said_with_the_reason(
    result: dict[str, Any], job: Job | None, setup: dict[str, Any], said: str
) -> None:
    asked = Verification(
        policy="never", tenants=frozenset({""}), tenant_of=lambda job, _: job.tenant if job else ""
    )
    correlation = Correlation(verification=asked)

    found = of_result(
        a_result(**result), a_setup(correlation=correlation, max_wait=timedelta(minutes=1), **setup), job=job
    )

    assert [said in plan.outputs for plan in found.deliveries] == [True, True]


def test_a_verified_callback_brings_the_outputs_with_it() -> None:
    found = of_result(a_result(), a_setup(correlation=Correlation(verification=ASKED)), job=a_job())

    assert {plan.outputs for plan in found.deliveries} == {"reported by MPS when it confirms the callback"}


def test_each_handler_has_the_retry_plan_of_its_route() -> None:
    rule = replace(RULE, retry=RetryPolicy(max_attempts=2))

    found = of_result(a_result(), a_setup(rule))

    assert [(plan.route, plan.handler, plan.retries.attempts) for plan in found.deliveries] == [
        ("videos", "log", 2),
        ("videos", "webhook", 2),
    ]


def test_a_callback_of_any_size_is_explained() -> None:
    body = a_callback(**{f"Member{number}": "x" * 60 for number in range(1000)})

    reading, result = explanation.read(body)

    assert result is not None
    assert len(reading.members) == 200
