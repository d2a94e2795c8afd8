"""Submitting through the official SDK: whatever happens to the call, the ledger knows what may have become of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from listener.aliyun.credentials import AccessKey, Credentials, credentials
from listener.aliyun.mps_client import MpsClient
from listener.core.errors import (
    FailureKind,
    MpsRejected,
    MpsUnavailable,
    SettingsError,
    UnavailableError,
    UsageError,
)
from listener.core.model import Job, JobState
from listener.emulator import Fault, FaultKind
from listener.emulator.options import DEFAULT_PIPELINE_ID
from listener.jobs import submission
from listener.jobs.request import JobRequest, compose_user_data
from listener.jobs.request_checks import check
from listener.settings.sections import CredentialsSettings, MpsSettings
from listener.store.sql_store import SqlStore
from tests.support.cases import each_case
from tests.support.program import ALL_TO_FILE, NOTIFY_URL, SECRET, Place, configured_place, unused_endpoint
from tests.support.waiting import wait_until

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
KEY = AccessKey("testKeyId", SECRET)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with configured_place(tmp_path) as here:
        yield here


@pytest.fixture
def store(place: Place) -> Iterator[SqlStore]:
    with place.store() as store:
        yield store


@pytest.fixture
def mps(place: Place) -> MpsClient:
    return client(place.server.url)


def client(endpoint: str, key: AccessKey = KEY) -> MpsClient:
    return MpsClient(MpsSettings(endpoint=endpoint), Credentials(lambda: key))


def a_request(**fields: Any) -> JobRequest:
    """One that works, and whose callback goes to the queue."""
    return JobRequest(**({"function": "VideoH2V", "input": INPUT, "notify_url": NOTIFY_URL} | fields))


def strike(place: Place, kind: FaultKind, **fields: Any) -> None:
    fault = Fault(kind=kind, operation="SubmitIProductionJob", **fields)
    place.server.call(lambda emulator: emulator.faults.add([fault]))


def jobs_at_mps(place: Place) -> list[str]:
    return place.server.call(lambda emulator: list(emulator.engine.jobs))


def ledger(place: Place) -> list[Job]:
    """All jobs in the store, newest first."""
    return [job for _, job in place.queries(lambda queries: queries.jobs())]


def test_submitted_job_is_known_by_its_id(place: Place, store: SqlStore, mps: MpsClient) -> None:
    job = submission.submit(a_request(reference="talk-7", user_data="x"), store=store, mps=mps)

    assert [job.job_id] == jobs_at_mps(place)
    (job_row,) = ledger(place)
    assert (job_row.job_id, job_row.reference, job_row.state) == (job.job_id, "talk-7", JobState.SUBMITTED)


def test_user_data_comes_back_exactly_as_it_was_given(place: Place, store: SqlStore, mps: MpsClient) -> None:
    given = [
        None,
        "plain",
        "captions:rest: with colons",
        '{"article": 7}',
        '{ "spaced" : [1.10, 1e400, "\\u00e9"] }\n',
        "{}",
        "[1, 2]",
        "{not json",
        "null",
        "字幕 \U0001f3ac é\ttab\nline",
        "<xml & 'quotes\">",
        "x" * 1000,
        json.dumps({"route": "captions", "long": "字" * 300}),
    ]
    by_id = {
        submission.submit(a_request(user_data=text), store=store, mps=mps).job_id: text for text in given
    }

    assert place.run("--drain").wait() == 0
    assert {line["job_id"]: line["user_data"] for line in place.lines()} == by_id


def parameters_at_mps(place: Place, job: Job) -> dict[str, str]:
    return place.server.call(lambda emulator: dict(emulator.engine.jobs[job.job_id].submission.request))


def test_every_parameter_of_the_call_arrives_as_it_was_given(
    place: Place, store: SqlStore, mps: MpsClient
) -> None:
    request = a_request(
        function="CaptionExtraction",
        input=INPUT.replace("talk.mp4", "my talk & 字幕+?.mp4"),
        output=INPUT.replace("talk.mp4", "{source}-{timestamp}-{sequenceId}.{resultType}"),
        params='{"fps": 5}',
        pipeline=DEFAULT_PIPELINE_ID,
        model="a model",
        schedule_params='{"priority": 1}',
        user_data="mine",
    )
    job = submission.submit(request, store=store, mps=mps)

    arrived = parameters_at_mps(place, job)
    assert arrived.pop("UserData").startswith("mine#mnsl=")
    assert arrived == {
        "FunctionName": "CaptionExtraction",
        "Input": request.input,
        "Output": request.output,
        "JobParams": request.params,
        "PipelineId": DEFAULT_PIPELINE_ID,
        "NotifyUrl": NOTIFY_URL,
        "ModelId": "a model",
        "ScheduleParams": '{"priority": 1}',
    }


def test_what_is_not_given_is_not_sent_except_for_params_and_our_token(
    place: Place, store: SqlStore, mps: MpsClient
) -> None:
    job = submission.submit(a_request(input=""), store=store, mps=mps)

    arrived = parameters_at_mps(place, job)
    assert arrived.pop("UserData").startswith("#mnsl=")
    assert arrived == {"FunctionName": "VideoH2V", "JobParams": "{}", "NotifyUrl": NOTIFY_URL}


def test_the_vendors_sample_request_can_be_forced(place: Place, store: SqlStore, mps: MpsClient) -> None:
    """It has JobParams without quotes and a wrong host in NotifyUrl."""
    sample = JobRequest(
        function="ImageCartoonize",
        model="null",
        params='{mode:"gif"}',
        schedule_params="null",
        notify_url="mns://125340688170****.oss-cn-shanghai.aliyuncs.com/queues/example-pipeline",
        user_data="null",
        pipeline=DEFAULT_PIPELINE_ID,
        input="oss://example-****.oss-cn-shanghai.aliyuncs.com/example.mp4",
        output="oss://example-****.oss-cn-shanghai.aliyuncs.com/iproduction/{source}-{timestamp}-{sequenceId}.srt",
    )
    with pytest.raises(UsageError, match="JobParams"):
        submission.submit(sample, store=store, mps=mps)
    job = submission.submit(replace(sample, force=True), store=store, mps=mps)

    arrived = parameters_at_mps(place, job)
    assert arrived["JobParams"] == sample.params
    assert (
        arrived["NotifyUrl"] == "mns://125340688170****.mns.cn-shanghai.aliyuncs.com/queues/example-pipeline"
    )


@pytest.mark.parametrize("kind", [FaultKind.DROP_REPLY, FaultKind.TRUNCATE])
def test_lost_reply_leaves_an_intent_that_the_callback_resolves(
    place: Place, store: SqlStore, mps: MpsClient, kind: FaultKind
) -> None:
    strike(place, kind)
    with pytest.raises(MpsUnavailable):
        submission.submit(a_request(reference="talk-7", user_data='{"article": 7}'), store=store, mps=mps)

    (intent,) = ledger(place)
    (job_id,) = jobs_at_mps(place)  # one only: a call whose outcome is unknown is never repeated
    assert (place.happened(kind), intent.state, intent.job_id) == (1, JobState.INTENT, "")
    assert place.run("--drain").wait() == 0
    (resolved,) = ledger(place)
    assert (resolved.job_id, resolved.state) == (job_id, JobState.SUCCESS)
    (line,) = place.lines()
    assert (line["reference"], line["user_data"]) == ("talk-7", '{"article": 7}')


def test_callback_may_overtake_the_reply(place: Place, store: SqlStore, mps: MpsClient) -> None:
    strike(place, FaultKind.EARLY, seconds=0.7)
    daemon = place.run().ready()
    job = submission.submit(a_request(reference="talk-7"), store=store, mps=mps)
    wait_until(lambda: bool(place.lines()))

    assert daemon.stop() == 0
    assert place.happened("early") == 1
    assert [(line["job_id"], line["reference"]) for line in place.lines()] == [(job.job_id, "talk-7")]
    assert [job_row.state for job_row in ledger(place)] == [JobState.SUCCESS]


def test_throttling_is_waited_out(place: Place, store: SqlStore, mps: MpsClient) -> None:
    strike(place, FaultKind.THROTTLE, count=2)
    job = submission.submit(a_request(), store=store, mps=mps)

    assert (place.happened("throttle"), jobs_at_mps(place)) == (2, [job.job_id])


@pytest.mark.parametrize("body", ["xml", "html", "empty"])
def test_server_error_leaves_an_intent(place: Place, store: SqlStore, mps: MpsClient, body: Any) -> None:
    strike(place, FaultKind.ERROR, body=body)
    with pytest.raises(MpsUnavailable):
        submission.submit(a_request(), store=store, mps=mps)

    assert (place.happened("error"), ledger(place)[0].state) == (1, JobState.INTENT)


def test_refused_job_is_stored_with_the_reason_and_releases_its_reference(
    place: Place, store: SqlStore, mps: MpsClient
) -> None:
    with pytest.raises(MpsRejected, match="ResourceNotFound"):
        submission.submit(a_request(pipeline="f" * 32, reference="talk-7"), store=store, mps=mps)
    (refused,) = ledger(place)
    assert (refused.state, "ResourceNotFound" in refused.error) == (JobState.REFUSED, True)

    second = submission.submit(a_request(reference="talk-7"), store=store, mps=mps)
    assert jobs_at_mps(place) == [second.job_id]


def test_reference_is_taken_once(place: Place, store: SqlStore, mps: MpsClient) -> None:
    first = submission.submit(a_request(reference="talk-7"), store=store, mps=mps)
    with pytest.raises(UsageError, match="reference 'talk-7' already exists"):
        submission.submit(a_request(reference="talk-7"), store=store, mps=mps)

    assert jobs_at_mps(place) == [first.job_id]


def test_a_call_that_reached_no_server_is_a_refused_job(place: Place, store: SqlStore) -> None:
    with pytest.raises(MpsUnavailable, match="connection refused") as caught:
        submission.submit(a_request(), store=store, mps=client(unused_endpoint()))

    assert (caught.value.kind, caught.value.exit_code) == (FailureKind.REFUSED, 69)
    assert [job.state for job in ledger(place)] == [JobState.REFUSED]


@pytest.mark.parametrize(
    "key",
    [AccessKey("testKeyId", "wrong"), AccessKey("nobody", SECRET)],
    ids=["wrong-secret", "unknown-key"],
)
def test_wrong_key_is_a_refused_job_with_a_hint(place: Place, store: SqlStore, key: AccessKey) -> None:
    with pytest.raises(MpsUnavailable, match="belong together") as caught:
        submission.submit(a_request(), store=store, mps=client(place.server.url, key))

    assert caught.value.kind == FailureKind.CREDENTIALS
    assert SECRET not in str(caught.value)
    assert [job.state for job in ledger(place)] == [JobState.REFUSED]


def test_without_a_key_nothing_is_sent_and_the_job_is_refused(place: Place, store: SqlStore) -> None:
    def no_key() -> AccessKey:
        raise UnavailableError("no access key was found", kind=FailureKind.CREDENTIALS, hint="set one")

    nobody = MpsClient(MpsSettings(endpoint=place.server.url), Credentials(no_key))
    with pytest.raises(MpsUnavailable, match="no access key was found; set one") as caught:
        submission.submit(a_request(), store=store, mps=nobody)

    assert caught.value.kind == FailureKind.CREDENTIALS
    assert (place.asked("SubmitIProductionJob"), ledger(place)[0].state) == (0, JobState.REFUSED)


def test_key_file_that_is_gone_makes_a_refused_job(place: Place, store: SqlStore) -> None:
    files = [place.folder / "id", place.folder / "secret"]
    for file, text in zip(files, ("testKeyId\n", f"{SECRET}\n"), strict=True):
        file.write_text(text)
    settings = CredentialsSettings(access_key_id_file=files[0], access_key_secret_file=files[1])
    mps = MpsClient(MpsSettings(endpoint=place.server.url), credentials(settings))
    submission.submit(a_request(), store=store, mps=mps)
    files[1].unlink()

    with pytest.raises(MpsUnavailable, match="access_key_secret_file"):
        submission.submit(a_request(), store=store, mps=mps)
    assert [job.state for job in ledger(place)] == [JobState.REFUSED, JobState.SUBMITTED]


@each_case(
    ("fields", "words"),
    [
        pytest.param({"function": ""}, ["function", "Cover", "kind"], id="no-function"),
        pytest.param({"input": "talk.mp4"}, ["Input", "'talk.mp4'", "oss://BUCKET"], id="input"),
        pytest.param({"output": "https://x/y"}, ["Output", "'https://x/y'", "oss://BUCKET"], id="output"),
        pytest.param(
            {"params": "[1]"}, ["JobParams", "'[1]'", "VideoH2V has no parameters"], id="params-no-object"
        ),
        pytest.param({"params": "{mode:1}"}, ["JobParams", "{mode:1}"], id="params-no-json"),
        pytest.param(
            {"function": "Cover", "output": f"{INPUT}.jpg"}, ["Output", "{sequenceId}", "before"], id="cover"
        ),
        pytest.param(
            {"function": "AsyncTextToSpeech", "output": INPUT}, ["{resultType}", "before"], id="speech"
        ),
        pytest.param({"notify_url": "http://h/p"}, ["NotifyUrl", "'http://h/p'", "mns://"], id="notify-url"),
        pytest.param({"notify_url": "mns://["}, ["NotifyUrl"], id="notify-no-url"),
        pytest.param({"notify_url": ""}, ["neither", "no callback", "--force"], id="no-callback"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    place: Place, store: SqlStore, mps: MpsClient, fields: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        submission.submit(a_request(**fields), store=store, mps=mps)

    assert [word for word in words if word not in str(caught.value)] == []
    assert (caught.value.exit_code, ledger(place), place.asked("SubmitIProductionJob")) == (2, [], 0)


def test_unknown_function_passes_with_a_warning() -> None:
    assert check(a_request(function="Cover")) == []
    (warning,) = check(a_request(function="Covr"))
    assert "'Covr'" in warning
    assert "did you mean Cover?" in warning


@each_case(
    ("route", "data", "composed"),
    [
        ("", "", None),
        ("", "text", "text"),
        ("covers", "", "covers:"),
        ("covers", "text", "covers:text"),
        ("covers", "[1]", "covers:[1]"),
        ("covers", "{}", '{"route": "covers"}'),
        ("covers", ' {"n": 1.10}', '{"route": "covers", "n": 1.10}'),
        ("covers", '{"text": "\\ud800"}', '{"route": "covers", "text": "\\ud800"}'),
    ],
)
def test_route_and_data_make_user_data(route: str, data: str, composed: str | None) -> None:
    assert compose_user_data(route, data) == composed


@each_case("route", ["a:b", " a", "a ", "{a", '"a'])
def test_route_that_would_not_come_back_is_refused(route: str) -> None:
    with pytest.raises(UsageError, match="cannot be used in user data"):
        compose_user_data(route, "x")


def test_route_is_named_once() -> None:
    with pytest.raises(UsageError, match="'covers'"):
        compose_user_data("captions", '{"route": "covers"}')


@each_case("endpoint", ["127.0.0.1:8470", "http://[::1", "http://h:port", "http://h/path", "http://"])
def test_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"mps\.endpoint"):
        client(endpoint)


def test_command_line_submits_with_keys_from_files(place: Place) -> None:
    place.settings(f'{ALL_TO_FILE}match = {{{{ route = "covers" }}}}\n')
    (place.folder / "id").write_text("testKeyId\n")
    (place.folder / "secret").write_text(f"{SECRET}\n")
    program = place.start(
        *("submit", "Cover", "--input", INPUT, "--output", INPUT.replace(".mp4", "-{sequenceId}.jpg")),
        *("--route", "covers", "--data", '{"article": 7}', "--json", "-c", "listener.toml"),
        credentials__access_key_id_file=str(place.folder / "id"),
        credentials__access_key_secret_file=str(place.folder / "secret"),
        ALIBABA_CLOUD_ACCESS_KEY_ID="",
        ALIBABA_CLOUD_ACCESS_KEY_SECRET="",
    )

    assert (program.wait(), program.stderr) == (0, "")
    printed = json.loads(program.stdout)
    assert [printed["job_id"]] == jobs_at_mps(place)
    assert (printed["state"], printed["user_data"]) == ("submitted", '{"route": "covers", "article": 7}')
