"""The parameters of the calls that submit jobs, and their replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listener.aliyun import mps_submissions
from listener.core.errors import MpsRejected
from listener.core.job_kinds import SUBMITTED_KINDS, JobKind
from listener.core.model import Job
from tests.support.builders import a_job
from tests.support.cases import each_case

REPLIES: dict[str, dict[str, Any]] = {
    "IProduction": {"JobId": "7"},
    "Transcode": {"JobResultList": {"JobResult": [{"Success": True, "Job": {"JobId": "7"}}]}},
    "Snapshot": {"SnapshotJob": {"Id": "7"}},
    "MediaInfo": {"MediaInfoJob": {"JobId": "7"}},
}
FILE = {"Bucket": "b-1", "Location": "oss-cn-shanghai", "Object": "a%20b/%E6%97%A9.mp4"}


def job_of(kind: str, **fields: str) -> Job:
    given = {"function": "", "input": "oss://b-1.oss-cn-shanghai.aliyuncs.com/a b/早.mp4", "pipeline": "pipe"}
    return a_job(kind=kind, output="oss://b-2.oss-cn-shanghai.aliyuncs.com/o {Count}.jpg", **(given | fields))


@each_case("kind", SUBMITTED_KINDS, ids=lambda kind: kind.name)
def test_the_id_is_found_in_the_reply(kind: JobKind) -> None:
    assert mps_submissions.job_id(job_of(kind.name), REPLIES[kind.name]) == "7"


@each_case("kind", SUBMITTED_KINDS, ids=lambda kind: kind.name)
@each_case("strange", [{}, {"JobResultList": []}, {"SnapshotJob": None}, {"MediaInfoJob": "x"}], ids=str)
def test_a_reply_without_an_id_is_no_error(kind: JobKind, strange: dict[str, Any]) -> None:
    assert mps_submissions.job_id(job_of(kind.name), strange) == ""


def test_a_transcoding_job_that_is_not_accepted_is_rejected() -> None:
    refused = {"Success": False, "Code": "PermissionDenied.ResourceQuotaExceed", "Message": "full"}

    with pytest.raises(
        MpsRejected, match=r"SubmitJobs: PermissionDenied\.ResourceQuotaExceed: full"
    ) as caught:
        mps_submissions.job_id(job_of("Transcode"), {"JobResultList": {"JobResult": [refused]}})
    assert caught.value.code == "PermissionDenied.ResourceQuotaExceed"


def test_transcode() -> None:
    parameters = mps_submissions.parameters(job_of("Transcode", params='{"TemplateId":"t"}'), "mine")

    assert json.loads(parameters.pop("Input")) == FILE
    (output,) = json.loads(parameters.pop("Outputs"))
    assert output == {"TemplateId": "t", "OutputObject": "o%20{Count}.jpg", "UserData": "mine"}
    assert parameters == {"OutputBucket": "b-2", "OutputLocation": "oss-cn-shanghai", "PipelineId": "pipe"}


def test_snapshot() -> None:
    parameters = mps_submissions.parameters(job_of("Snapshot", params='{"Num":"3"}'), "mine")

    assert json.loads(parameters.pop("Input")) == FILE
    target = {"Bucket": "b-2", "Location": "oss-cn-shanghai", "Object": "o%20{Count}.jpg"}
    assert json.loads(parameters.pop("SnapshotConfig")) == {"Num": "3", "OutputFile": target}
    assert parameters == {"PipelineId": "pipe", "UserData": "mine"}


def test_media_info_is_asynchronous() -> None:
    parameters = mps_submissions.parameters(job_of("MediaInfo"), None)

    assert json.loads(parameters.pop("Input")) == FILE
    assert parameters == {"Async": "true", "PipelineId": "pipe", "UserData": ""}
