"""Transcode: one call submits a job for each of its outputs."""

from __future__ import annotations

from typing import Any

from listener.core import job_kinds
from listener.emulator.mps.errors import QUEUE_FULL, MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import (
    USER_DATA_BYTES,
    checked_file,
    common_members,
    finish_time,
    message_result,
    object_key,
    oss_file,
    percent,
    pipeline_callback,
    time_text,
)
from listener.emulator.mps.kinds.media import Media, properties
from listener.emulator.mps.oss import check_bucket
from listener.emulator.rpc.call import Call, Document

MAX_OUTPUTS = 30
#: Members of an output that a query shows again.
SHOWN = ("TemplateId", "Video", "Audio", "Container", "Clip", "Priority", "Rotate")


def submit(call: Call, account: Account) -> Document:
    call.required("PipelineId")
    source = oss_file(call, "Input")
    check_bucket("OutputBucket", call.required("OutputBucket"))
    call.required("Outputs")
    outputs = call.json_array("Outputs")
    if not 1 <= len(outputs) <= MAX_OUTPUTS:
        raise MpsError("InvalidParameter.OutOfRange", "Outputs")
    submissions = [_submission(call, source, output) for output in outputs]
    return {"JobResultList": {"JobResult": [_accepted(one, account) for one in submissions]}}


def _accepted(submission: Submission, account: Account) -> Document:
    """The result for one output; a pipeline may be full after some of them."""
    try:
        job = account.accept(submission)
    except MpsError as error:
        if error.code != QUEUE_FULL:
            raise
        return {"Success": False, "Code": error.code, "Message": error.text}
    return {"Success": True, "Code": "", "Message": "", "Job": describe(job)}


def _submission(call: Call, source: Document, output: Any) -> Submission:
    if not isinstance(output, dict):
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", "Outputs")
    target = {
        "Bucket": call.parameters["OutputBucket"],
        "Location": call.parameters.get("OutputLocation") or "oss-cn-hangzhou",
        "Object": output.get("OutputObject", ""),
    }
    user_data = str(output.get("UserData", ""))
    if len(user_data.encode("utf-8", "replace")) > USER_DATA_BYTES:
        raise MpsError("InvalidParameter.OutOfRange", "UserData")
    shown = {name: output[name] for name in SHOWN if name in output}
    return Submission(
        request={
            "Input": source,
            "Output": {"OutputFile": checked_file(target, name="OutputObject"), **shown},
        },
        function=TRANSCODE.api.name,
        input_key=object_key(source),
        user_data=user_data,
    )


def activity(source: Document, name: str) -> Submission:
    target = {**source, "Object": f"{name}/{source['Object']}"}
    return Submission(
        request={"Input": source, "Output": {"OutputFile": target}},
        function=TRANSCODE.api.name,
        input_key=object_key(source),
    )


def describe(job: EmulatedJob) -> Document:
    output = {**job.submission.request["Output"], **(job.result or {})}
    if job.submission.user_data:
        output["UserData"] = job.submission.user_data
    times = {"SubmitTime": time_text(job.created), **finish_time(job)}
    request = {**job.submission.request, "Output": output}
    return {**common_members(job), **message_result(job), **times, "Percent": percent(job), **request}


def result(job: EmulatedJob, options: object) -> Document:
    """The properties of the output file, in the size that its Video asks for."""
    if job.code:
        return {}
    output = job.submission.request["Output"]
    video = output["Video"] if isinstance(output.get("Video"), dict) else {}
    media = Media(
        width=str(video.get("Width") or 1280),
        height=str(video.get("Height") or 720),
        container=object_key(output["OutputFile"]).rpartition(".")[2],
    )
    return {"Properties": properties(media)}


TRANSCODE = EmulatedKind(
    api=job_kinds.TRANSCODE,
    states=States(
        waiting="Submitted",
        running="Transcoding",
        success="TranscodeSuccess",
        fail="TranscodeFail",
        cancelled="TranscodeCancelled",
    ),
    missing=("NonExistJobIds", "String"),
    cancelled_by="CancelJob",
    submit=submit,
    activity=activity,
    describe=describe,
    result=result,
    callback=pipeline_callback,
)
