"""The emulator's MPS: the official SDK with both its signatures, bare RPC calls, and the callbacks that follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.emulator import DEFAULT_PIPELINE_ID, Emulator, Options, signatures
from listener.emulator.mps.sample_results import FUNCTION_NAMES
from listener.emulator.server import RunningEmulator, running
from tests.support.cases import each_case
from tests.support.clocks import freeze_time
from tests.support.emulator_clients import (
    BUCKET,
    NOTIFY,
    BareMns,
    BareMps,
    code,
    mps_client,
    next_callback,
    submit,
)
from tests.support.waiting import wait_until


def test_documented_signature_vector_is_reproduced() -> None:
    parameters = {
        "AccessKeyId": "testId",
        "Action": "SearchTemplate",
        "Format": "XML",
        "PageSize": "2",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "4902260a-516a-4b6a-a455-45b653cf6150",
        "SignatureVersion": "1.0",
        "Timestamp": "2015-05-14T09:03:45Z",
        "Version": "2014-06-18",
    }
    signature = signatures.rpc_v1("testKeySecret", method="GET", parameters=parameters)

    assert signature == "kmDv4mWo806GWPjQMy2z4VhBBDQ="


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])
def test_official_sdk_submits_and_queries(
    server: RunningEmulator, bare: BareMns, algorithm: str | None
) -> None:
    from alibabacloud_mts20140618 import models

    client = mps_client(server.port, algorithm)
    request = models.SubmitIProductionJobRequest(
        function_name="VideoH2V",
        job_params="{}",
        notify_url=NOTIFY,
        user_data="dinner & 中文 ~*'",
        pipeline_id=DEFAULT_PIPELINE_ID,
        input=f"{BUCKET}/in/a b+c.mp4",
        output=f"{BUCKET}/out/{{source}}.mp4",
    )
    job_id = client.submit_iproduction_job(request).body.job_id
    callback = next_callback(bare)
    job = client.query_iproduction_job(models.QueryIProductionJobRequest(job_id=job_id)).body

    assert callback == {
        "Code": "Success",
        "Details": [],
        "FunctionName": "VideoH2V",
        "JobId": job_id,
        "Message": "success",
        "State": "Success",
        "Type": "IProduction",
        "UserData": "dinner & 中文 ~*'",
    }
    assert (job.state, job.function_name, job.user_data) == ("Success", "VideoH2V", request.user_data)
    assert (job.input, job.output, job.pipeline_id) == (request.input, request.output, DEFAULT_PIPELINE_ID)
    assert json.loads(job.result) == {"Details": [], "Message": "success", "Code": "Success"}


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])
def test_official_sdk_binds_a_queue_to_a_pipeline(
    server: RunningEmulator, bare: BareMns, algorithm: str | None
) -> None:
    from alibabacloud_mts20140618 import models

    client = mps_client(server.port, algorithm)
    added = client.add_pipeline(models.AddPipelineRequest(name="mine")).body.pipeline
    client.update_pipeline(
        models.UpdatePipelineRequest(
            pipeline_id=added.id, name="ours", state="Active", notify_config='{"QueueName":"q"}'
        )
    )
    found = client.search_pipeline(models.SearchPipelineRequest(state="Active")).body
    listed = client.query_pipeline_list(models.QueryPipelineListRequest(pipeline_ids=f"{added.id},none")).body

    assert [pipeline.name for pipeline in found.pipeline_list.pipeline] == ["mts-default-pipeline", "ours"]
    assert found.pipeline_list.pipeline[1].notify_config.queue_name == "q"
    assert [pipeline.id for pipeline in listed.pipeline_list.pipeline] == [added.id]
    request = models.SubmitIProductionJobRequest(function_name="Cover", job_params="{}", pipeline_id=added.id)
    job_id = client.submit_iproduction_job(request).body.job_id
    assert next_callback(bare)["JobId"] == job_id
    deleted = client.delete_pipeline(models.DeletePipelineRequest(pipeline_id=added.id)).body
    left = client.search_pipeline(models.SearchPipelineRequest()).body.pipeline_list.pipeline
    assert (deleted.pipeline_id, [pipeline.id for pipeline in left]) == (added.id, [DEFAULT_PIPELINE_ID])


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])
def test_official_sdk_sees_the_error_code(server: RunningEmulator, algorithm: str | None) -> None:
    from alibabacloud_mts20140618 import models
    from darabonba.exceptions import DaraException

    client = mps_client(server.port, algorithm)
    with pytest.raises(DaraException) as failure:
        client.query_iproduction_job(models.QueryIProductionJobRequest(job_id="0" * 32))

    assert failure.value.code == "InvalidParameter.ResourceNotFound"


@pytest.mark.parametrize(
    ("method", "form"),
    [("GET", False), ("POST", False), ("POST", True)],
    ids=["get", "post-query", "post-form"],
)
def test_every_way_to_write_a_call_is_read(mps: BareMps, method: str, form: bool) -> None:
    reply = mps.call("SearchPipeline", method=method, form=form)

    assert reply.status_code == 200
    assert reply.json()["PipelineList"]["Pipeline"][0]["Id"] == DEFAULT_PIPELINE_ID


def test_xml_is_the_default_answer(mps: BareMps) -> None:
    reply = submit(mps, Format="")
    root = ElementTree.fromstring(reply.content)

    assert (root.tag, [child.tag for child in root]) == (
        "SubmitIProductionJobResponse",
        ["RequestId", "JobId"],
    )
    assert reply.headers["content-type"].startswith("application/xml")


def test_errors_come_in_the_format_asked_for(mps: BareMps) -> None:
    as_json = mps.call("QueryIProductionJob", JobId="x")
    as_xml = mps.call("QueryIProductionJob", JobId="x", Format="XML")

    assert as_json.json().keys() == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    root = ElementTree.fromstring(as_xml.content)
    assert (root.tag, root.findtext("Code")) == ("Error", "InvalidParameter.ResourceNotFound")


@each_case(
    ("parameters", "expected"),
    [
        pytest.param({"AccessKeyId": "other"}, (404, "InvalidAccessKeyId.NotFound"), id="unknown-key"),
        pytest.param({"Signature": "abc="}, (400, "SignatureDoesNotMatch"), id="bad-signature"),
        pytest.param({"Timestamp": "2015-05-14T09:03:45Z"}, (400, "InvalidTimeStamp.Expired"), id="old"),
        pytest.param({"Timestamp": "now"}, (400, "IllegalTimestamp"), id="no-time"),
        pytest.param({"SignatureMethod": "HMAC-MD5"}, (400, "IncompleteSignature"), id="other-method"),
        pytest.param({"SignatureNonce": ""}, (400, "MissingParameter"), id="no-nonce"),
        pytest.param({"Version": "2020-01-01"}, (400, "InvalidVersion"), id="other-version"),
        pytest.param({"Action": "Dance"}, (404, "InvalidAction.NotFound"), id="other-action"),
    ],
)
def test_call_that_cannot_be_trusted_is_refused(
    mps: BareMps, parameters: dict[str, str], expected: tuple[int, str]
) -> None:
    fields = {"action": "SearchPipeline", **parameters}
    action = fields.pop("Action", fields.pop("action"))

    assert code(mps.call(action, **fields)) == expected


def test_nonce_works_only_once(mps: BareMps) -> None:
    assert mps.call("SearchPipeline", SignatureNonce="once").status_code == 200
    assert code(mps.call("SearchPipeline", SignatureNonce="once")) == (400, "SignatureNonceUsed")


def test_wrong_signature_is_answered_with_what_the_service_has_signed(mps: BareMps) -> None:
    """SDKs look for it in the message, and one of them fails without."""
    message = mps.call("SearchPipeline", Signature="abc=", SignatureNonce="n").json()["Message"]

    usual, _, text = message.partition(" server string to sign is:")
    assert usual == "Specified signature is not matched with our calculation."
    assert text.startswith(
        "GET&%2F&AccessKeyId%3DtestKeyId%26Action%3DSearchPipeline%26Format%3DJSON%26SignatureM"
    )


def test_error_in_xml_is_well_formed_whatever_the_call_contains(mps: BareMps) -> None:
    """U+FFFD stands for what XML cannot contain."""
    reply = mps.call("QueryIProductionJob", Format="XML", JobId="a\x00\x1b\ufffeb")

    assert "a\ufffd\ufffd\ufffdb" in str(ElementTree.fromstring(reply.content).findtext("Message"))


def test_tampered_acs3_body_is_refused(mps: BareMps) -> None:
    reply = mps.call_acs3("SearchPipeline", accept="application/xml", digest="0" * 64)

    error = ElementTree.fromstring(reply.content)
    assert error.findtext("Code") == "SignatureDoesNotMatch"
    assert "calculation. server StringToSign is [ACS3-HMAC-SHA256\n" in str(error.findtext("Message"))


@each_case(
    ("parameters", "expected"),
    [
        pytest.param({"FunctionName": ""}, (400, "MissingParameter"), id="no-function"),
        pytest.param({"JobParams": "[1]"}, (400, "InvalidParameter.JsonObjectFormatInvalid"), id="array"),
        pytest.param({"JobParams": "{oops"}, (400, "InvalidParameter.JsonObjectFormatInvalid"), id="no-json"),
        pytest.param({"Input": "https://example.com/a"}, (400, "InvalidParameter.Format"), id="no-oss"),
        pytest.param(
            {"Input": "oss://A.oss-cn-x.aliyuncs.com/k"},
            (400, "InvalidParameter.BucketNameInvalid"),
            id="bkt",
        ),
        pytest.param({"Output": f"{BUCKET}/"}, (400, "InvalidParameter.ObjectKeyInvalid"), id="no-key"),
        pytest.param({"NotifyUrl": "https://example.com"}, (400, "InvalidParameter.Format"), id="notify"),
        pytest.param(
            {"NotifyUrl": NOTIFY.replace("mns:", "https:")},
            (400, "InvalidParameter.Format"),
            id="notify-https",
        ),
        pytest.param(
            {"NotifyUrl": "mns://127.0.0.1:8470/queues/q"}, (400, "InvalidParameter.Format"), id="notify-host"
        ),
        pytest.param(
            {"NotifyUrl": NOTIFY.replace("shanghai", "shanghai-internal")},
            (400, "InvalidParameter.Format"),
            id="notify-internal",
        ),
        pytest.param(
            {"NotifyUrl": NOTIFY.replace("queues", "topics")},
            (400, "InvalidParameter.Format"),
            id="notify-topic",
        ),
        pytest.param({"PipelineId": "0" * 32}, (404, "InvalidParameter.ResourceNotFound"), id="pipeline"),
    ],
)
def test_wrong_submission_is_refused(
    mps: BareMps, parameters: dict[str, str], expected: tuple[int, str]
) -> None:
    function = parameters.pop("FunctionName", "VideoH2V")

    assert code(submit(mps, function, **parameters)) == expected


@pytest.mark.parametrize("params", ["{}", '{"Model":"gif"}', '{mode:"gif"}', "null", ""])
def test_parameters_as_the_documentation_writes_them_are_accepted(mps: BareMps, params: str) -> None:
    assert submit(mps, JobParams=params).status_code == 200


@pytest.mark.parametrize(
    "url",
    [NOTIFY, NOTIFY.replace(".mns.", ".oss-"), NOTIFY.replace("cn-shanghai", "us-west-1")],
)
def test_a_notify_url_in_a_documented_form_is_called_back(mps: BareMps, bare: BareMns, url: str) -> None:
    job_id = submit(mps, NotifyUrl=url).json()["JobId"]

    assert next_callback(bare)["JobId"] == job_id


def test_job_named_to_fail_is_called_back_as_failed(mps: BareMps, bare: BareMns) -> None:
    job_id = submit(mps, Input=f"{BUCKET}/please-fail.mp4").json()["JobId"]
    callback = next_callback(bare)
    job = mps.call("QueryIProductionJob", JobId=job_id).json()

    assert (callback["State"], callback["Code"]) == ("Fail", "InvalidParameter.ResourceContentBad")
    assert (job["State"], json.loads(job["Result"])["Code"]) == ("Fail", callback["Code"])


def test_callback_without_user_data_has_no_such_key(mps: BareMps, bare: BareMns) -> None:
    submit(mps)

    assert list(next_callback(bare)) == [
        "Code",
        "Details",
        "FunctionName",
        "JobId",
        "Message",
        "State",
        "Type",
    ]


def test_audio_mixing_is_called_back_in_its_own_words(mps: BareMps, bare: BareMns) -> None:
    submit(mps, "AudioMixing", UserData="test")
    callback = next_callback(bare)

    assert "Details" not in callback
    assert (callback["Message"], callback["UserData"]) == ("Successful.", "test")


@pytest.mark.parametrize("function", FUNCTION_NAMES)
def test_every_function_is_called_back_and_has_a_result(mps: BareMps, bare: BareMns, function: str) -> None:
    job_id = submit(mps, function).json()["JobId"]
    callback = next_callback(bare)
    job = mps.call("QueryIProductionJob", JobId=job_id).json()

    assert (callback["JobId"], callback["FunctionName"]) == (job_id, function)
    assert job["State"] == "Success"
    assert json.loads(job["Result"])["Code"] == "Success"


def test_text_to_speech_is_answered_at_once(mps: BareMps) -> None:
    reply = submit(mps, "TextToSpeech").json()

    assert json.loads(reply["Result"])["Data"]["result"][0]["file"].startswith("UklGR")


def test_lost_callback_is_counted_and_the_job_still_ends(
    server: RunningEmulator, mps: BareMps, bare: BareMns
) -> None:
    job_id = submit(mps, NotifyUrl=NOTIFY + "-missing").json()["JobId"]
    submit(mps)
    next_callback(bare)

    assert mps.call("QueryIProductionJob", JobId=job_id).json()["State"] == "Success"
    assert server.call(Emulator.state)["callbacks"] == {"sent": 1, "lost": 1, "dropped": 0}


def test_job_without_pipeline_or_notify_url_is_not_called_back(server: RunningEmulator, mps: BareMps) -> None:
    job_id = submit(mps, PipelineId="", NotifyUrl="").json()["JobId"]
    wait_until(lambda: server.call(lambda emulator: emulator.engine.jobs[job_id].over))

    assert "PipelineId" not in mps.call("QueryIProductionJob", JobId=job_id).json()
    assert server.call(Emulator.state)["callbacks"] == {"sent": 0, "lost": 0, "dropped": 0}


@pytest.fixture
def frozen() -> Iterator[tuple[Any, RunningEmulator, BareMps]]:
    """An emulator with the clock in the test's hand, and jobs of one minute."""
    with (
        freeze_time() as clock,
        running(Options(job_seconds=60)) as server,
    ):
        mps = BareMps(server.url)
        with mps.http:
            yield clock, server, mps


Frozen = tuple[Any, RunningEmulator, BareMps]


def states(mps: BareMps, job_ids: list[str]) -> list[str]:
    return [mps.call("QueryIProductionJob", JobId=job_id).json()["State"] for job_id in job_ids]


def test_ten_jobs_run_at_once_and_the_rest_wait(frozen: Frozen) -> None:
    clock, server, mps = frozen
    jobs = [submit(mps).json()["JobId"] for _ in range(12)]
    server.call(Emulator.wake)

    assert states(mps, jobs) == ["Analysing"] * 10 + ["Queuing"] * 2
    clock.tick(60)
    assert states(mps, jobs) == ["Success"] * 10 + ["Analysing"] * 2
    clock.tick(60)
    assert states(mps, jobs) == ["Success"] * 12


def test_paused_pipeline_keeps_its_jobs_waiting(frozen: Frozen) -> None:
    clock, _, mps = frozen
    mps.call("UpdatePipeline", PipelineId=DEFAULT_PIPELINE_ID, Name="n", State="Paused")
    job = submit(mps).json()["JobId"]
    clock.tick(600)
    assert states(mps, [job]) == ["Queuing"]

    mps.call("UpdatePipeline", PipelineId=DEFAULT_PIPELINE_ID, Name="n", State="Active")
    assert states(mps, [job]) == ["Analysing"]


def test_pipeline_is_not_deleted_while_jobs_wait_in_it(frozen: Frozen) -> None:
    _, _, mps = frozen
    mps.call("UpdatePipeline", PipelineId=DEFAULT_PIPELINE_ID, Name="n", State="Paused")
    submit(mps)

    refused = mps.call("DeletePipeline", PipelineId=DEFAULT_PIPELINE_ID)
    assert code(refused) == (403, "InvalidParameter.InvalidState")
    assert code(mps.call("DeletePipeline", PipelineId="0" * 32)) == (404, "InvalidParameter.ResourceNotFound")


def test_more_than_a_hundred_calls_a_second_are_throttled(frozen: Frozen) -> None:
    clock, _, mps = frozen
    replies = [mps.call("SearchPipeline") for _ in range(101)]

    assert [reply.status_code for reply in replies] == [200] * 100 + [400]
    assert code(replies[-1]) == (400, "Throttling.User")
    clock.tick(1)
    assert mps.call("SearchPipeline").status_code == 200


def test_full_pipeline_takes_no_more(server: RunningEmulator) -> None:
    with running(Options(queue_limit=2, concurrency=1, job_seconds=3600)) as small:
        mps = BareMps(small.url)
        with mps.http:
            replies = []
            for _ in range(4):
                replies.append(submit(mps))
                small.call(Emulator.wake)

    assert [reply.status_code for reply in replies] == [200, 200, 200, 403]
    assert code(replies[-1]) == (403, "PermissionDenied.ResourceQuotaExceed")


def test_functions_may_take_times_of_their_own() -> None:
    with (
        freeze_time() as clock,
        running(Options(job_seconds=60, durations={"Cover": 5})) as server,
    ):
        mps = BareMps(server.url)
        with mps.http:
            jobs = [submit(mps, function).json()["JobId"] for function in ("Cover", "ASR")]
            server.call(Emulator.wake)
            clock.tick(5)
            seen = states(mps, jobs)

    assert seen == ["Success", "Analysing"]


def test_forgotten_job_is_called_back_but_not_found() -> None:
    with running(Options(unknown_rate=1, job_seconds=0)) as server:
        bare, mps = BareMns(server.url), BareMps(server.url)
        with bare.http, mps.http:
            bare.request("PUT", "/queues/q")
            job_id = submit(mps).json()["JobId"]

            assert next_callback(bare)["JobId"] == job_id
            assert code(mps.call("QueryIProductionJob", JobId=job_id)) == (
                404,
                "InvalidParameter.ResourceNotFound",
            )


def test_rate_of_lost_callbacks_loses_them() -> None:
    with running(Options(lost_rate=1, job_seconds=0)) as server:
        bare, mps = BareMns(server.url), BareMps(server.url)
        with bare.http, mps.http:
            bare.request("PUT", "/queues/q")
            submit(mps)
            wait_until(lambda: server.call(lambda emulator: emulator.sender.deliveries.dropped) == 1)

            assert bare.receive("q").status_code == 404


def test_same_seed_gives_the_same_ids_and_failures_however_often_somebody_polls() -> None:
    def outcome(seed: int, *, polls: int) -> list[tuple[str, str]]:
        with running(Options(seed=seed, fail_rate=0.5, job_seconds=0)) as server:
            mps = BareMps(server.url)
            with mps.http:
                jobs = []
                for _ in range(20):
                    jobs.append(submit(mps).json()["JobId"])
                    states(mps, jobs[:1] * polls)
                server.call(Emulator.wake)
                return list(zip(jobs, states(mps, jobs), strict=True))

    first = outcome(7, polls=0)
    assert first == outcome(7, polls=2)
    assert first != outcome(8, polls=0)
    assert {state for _, state in first} == {"Success", "Fail"}


def test_every_job_goes_through_all_states(server: RunningEmulator, mps: BareMps, bare: BareMns) -> None:
    jobs = [submit(mps, function).json()["JobId"] for function in ("Cover", "TextToSpeech")]
    for _ in jobs:
        next_callback(bare)

    by_id = server.call(Emulator.state)["jobs"]
    assert [by_id[job]["history"] for job in jobs] == [["Queuing", "Analysing", "Success"]] * 2


def test_long_parameters_fit_into_the_query(mps: BareMps) -> None:
    assert submit(mps, JobParams=json.dumps({"text": "x" * 50_000})).status_code == 200
