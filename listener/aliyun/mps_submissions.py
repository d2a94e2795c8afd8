"""The calls that submit a job: its parameters for each kind that can be submitted here, and what the reply says.

The parameters of other kinds than smart production, and the places of the ids, are those of the models of the official
SDK; that object keys are URL-encoded is documented there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from listener.aliyun.mps_answers import result_members
from listener.core.errors import MpsRejected
from listener.core.job_kinds import IPRODUCTION, MEDIA_INFO, SNAPSHOT, TRANSCODE
from listener.core.model import ANSWERED_AT_ONCE, Job, Result, Source
from listener.formats import lenient_json
from listener.formats.callback import decode
from listener.formats.oss_url import split_oss_url
from listener.formats.unicode_text import storable

Reply = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Submission:
    """How jobs of one kind are submitted."""

    parameters: Callable[[Job, str | None], dict[str, str]]
    accepted: Callable[[Reply], Reply] = lambda reply: reply  #: the job in the reply; raises MpsRejected
    id: str = "JobId"  #: the member of that job with its id


def parameters(job: Job, user_data: str | None) -> dict[str, str]:
    """The parameters of the call; empty ones are not to be sent."""
    return _submission(job).parameters(job, user_data)


def job_id(job: Job, reply: Reply) -> str:
    """The id in the reply; empty if there is none. Raises MpsRejected if MPS did not accept the job."""
    submission = _submission(job)
    return str(_object(submission.accepted(reply)).get(submission.id) or "")


def outcome(job: Job, job_id: str, reply: Reply) -> Result | None:
    """The outcome in the reply to a submission: TextToSpeech sends no other.

    The documentation shows a Result in the replies of other functions too, but it is ignored as an echo, since the
    job has only been queued at that time.
    """
    text = reply.get("Result")
    members = result_members(text) if isinstance(text, str) else {}
    if job.function not in ANSWERED_AT_ONCE or not members.get("Code"):
        return None
    document = {"Type": "IProduction", "JobId": job_id, "FunctionName": job.function, "Code": members["Code"]}
    result = decode(json.dumps({**document, "Message": members.get("Message", "")}))
    return replace(result, source=Source.REPLY, user_data=job.user_data, outputs=storable(text or ""))


def _submission(job: Job) -> Submission:
    return _SUBMISSIONS[job.kind or IPRODUCTION.name]


def _iproduction(job: Job, user_data: str | None) -> dict[str, str]:
    return {
        "FunctionName": job.function,
        "Input": job.input,
        "Output": job.output,
        "JobParams": job.params,
        "ModelId": job.model,
        "ScheduleParams": job.schedule_params,
        "NotifyUrl": job.notify_url,
        "PipelineId": job.pipeline,
        "UserData": user_data or "",
    }


def _transcode(job: Job, user_data: str | None) -> dict[str, str]:
    """A call may have several outputs, of which each becomes a job; here it has one."""
    target = split_oss_url(job.output)
    output = _params(job) | {"OutputObject": _encoded(target.key), "UserData": user_data or ""}
    return {
        "Input": _file(job.input),
        "OutputBucket": target.bucket,
        "OutputLocation": f"oss-{target.region}",
        "Outputs": lenient_json.render([output]),
        "PipelineId": job.pipeline,
    }


def _snapshot(job: Job, user_data: str | None) -> dict[str, str]:
    config = _params(job) | {"OutputFile": _object(json.loads(_file(job.output)))}
    return {
        "Input": _file(job.input),
        "SnapshotConfig": lenient_json.render(config),
        "PipelineId": job.pipeline,
        "UserData": user_data or "",
    }


def _media_info(job: Job, user_data: str | None) -> dict[str, str]:
    """Asynchronous: else its outcome would be in the reply alone, which may be lost."""
    return {
        "Input": _file(job.input),
        "Async": "true",
        "PipelineId": job.pipeline,
        "UserData": user_data or "",
    }


def _first_of_jobs(reply: Reply) -> Reply:
    results = _object(reply.get("JobResultList")).get("JobResult")
    first = _object(results[0]) if isinstance(results, list) and results else {}
    if first.get("Success") in (False, "false"):
        code = str(first.get("Code") or "")
        raise MpsRejected(f"MPS: {TRANSCODE.submitted_by}: {code}: {first.get('Message')}", code=code)
    return _object(first.get("Job"))


def _params(job: Job) -> dict[str, Any]:
    return dict(_object(lenient_json.parse(job.params or "{}")))


def _file(url: str) -> str:
    file = split_oss_url(url)
    return lenient_json.render(
        {"Bucket": file.bucket, "Location": f"oss-{file.region}", "Object": _encoded(file.key)}
    )


def _encoded(key: str) -> str:
    """Without the slashes and the braces of placeholders."""
    return quote(key, safe="/{}")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_SUBMISSIONS: Final[Mapping[str, Submission]] = {
    IPRODUCTION.name: Submission(_iproduction),
    TRANSCODE.name: Submission(_transcode, _first_of_jobs),
    SNAPSHOT.name: Submission(_snapshot, lambda reply: _object(reply.get("SnapshotJob")), "Id"),
    MEDIA_INFO.name: Submission(_media_info, lambda reply: _object(reply.get("MediaInfoJob"))),
}
