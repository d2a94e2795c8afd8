"""Workflow: a run of several activities on one file, which reports when its Start and its Report are done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from listener.core import job_kinds
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import (
    BAD_CONTENT,
    BAD_CONTENT_TEXT,
    Account,
    EmulatedJob,
    EmulatedKind,
    Part,
    States,
    Submission,
)
from listener.emulator.mps.kinds.analysis import ANALYSIS
from listener.emulator.mps.kinds.documents import (
    USER_DATA_BYTES,
    checked_file,
    object_key,
    short_text,
    time_text,
)
from listener.emulator.mps.kinds.media_info import MEDIA_INFO
from listener.emulator.mps.kinds.snapshot import SNAPSHOT
from listener.emulator.mps.kinds.transcode import TRANSCODE
from listener.emulator.mps.oss import HTTP_URL
from listener.emulator.mps.workflows import MediaWorkflow
from listener.emulator.rpc.call import Call, Document

#: The kind of the job of each type of activity that has one; Start finds out the properties of the file.
JOB_OF_ACTIVITY = {"Start": MEDIA_INFO, "Transcode": TRANSCODE, "Snapshot": SNAPSHOT, "Analysis": ANALYSIS}


def submit(call: Call, account: Account) -> Document:
    """Add a medium, and run a workflow on it if the call names one."""
    url = call.required("FileURL")
    parts = HTTP_URL.fullmatch(url)
    if parts is None:
        raise MpsError("InvalidParameter.Format", "FileURL")
    named = {"Bucket": parts["bucket"], "Location": parts["location"], "Object": parts["key"]}
    file = checked_file(named, name="FileURL")
    medium: Document = {"MediaId": _derived_id(url), "File": {"URL": url, "State": "Normal"}}
    user_data = short_text(call, "MediaWorkflowUserData", limit=USER_DATA_BYTES)
    if not (workflow_id := call.parameters.get("MediaWorkflowId", "")):
        return {"Media": medium | {"RunIdList": {"RunId": []}}}
    if workflow_id not in account.workflows:
        raise MpsError("InvalidParameter.ResourceNotFound", f'"{workflow_id}"')
    workflow = account.workflows[workflow_id]
    run = account.accept(
        Submission(
            request={"workflow": workflow, "InputFile": file, "MediaId": medium["MediaId"]},
            function=WORKFLOW.api.name,
            input_key=object_key(file),
            user_data=user_data,
            notify_queue=workflow.queue,
            parts=_parts(workflow, file),
        )
    )
    return {"Media": medium | {"RunIdList": {"RunId": [run.id]}}}


def _derived_id(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _parts(workflow: MediaWorkflow, file: Document) -> dict[str, Part]:
    """The jobs of the activities. One fails by itself if the name of its activity has ``fail`` in it."""
    parts = {}
    for name, type_ in workflow.activities.items():
        kind = JOB_OF_ACTIVITY.get(type_)
        if kind is not None and kind.activity is not None:
            submission = kind.activity(file, name)
            if "fail" in name.lower():
                submission = replace(submission, failure=(BAD_CONTENT, BAD_CONTENT_TEXT))
            parts[name] = Part(kind=kind, submission=submission, opens=type_ == "Start")
    return parts


def describe(job: EmulatedJob) -> Document:
    return execution(job) | {"ActivityList": {"Activity": activities(job)}}


def execution(job: EmulatedJob) -> Document:
    workflow = job.submission.request["workflow"]
    source: Document = {"InputFile": job.submission.request["InputFile"]}
    if job.submission.user_data:
        source["UserData"] = job.submission.user_data
    return {
        "RunId": job.id,
        "MediaWorkflowId": workflow.id,
        "Name": workflow.name,
        "MediaId": job.submission.request["MediaId"],
        "Input": source,
        "State": job.state,
        "CreationTime": time_text(job.created),
    }


def activities(job: EmulatedJob) -> list[Document]:
    """Those that have begun. As in real messages they are not in the order of time: Report is the first."""
    types: Mapping[str, str] = job.submission.request["workflow"].activities
    begun = [name for name in types if job.started and (job.over or name in job.parts)]
    begun.sort(key=lambda name: {"Report": 0, "Start": 2}.get(types[name], 1))
    return [{"Name": name, "Type": types[name], **_activity(job, name)} for name in begun]


def _activity(run: EmulatedJob, name: str) -> Document:
    """One without a job is Report, one that is skipped, or one of a type that has no jobs here."""
    job = run.parts.get(name)
    if job is None:
        ended = time_text(run.finished)
        state = "Skipped" if name in run.submission.parts else "Success"
        return {"State": state, "StartTime": ended, "EndTime": ended}
    begun = {"JobId": job.id, "StartTime": time_text(job.started)}
    if not job.over:
        return {**begun, "State": "Running"}
    ended = time_text(job.finished)
    if job.code:
        return {**begun, "State": "Fail", "Code": job.code, "Message": job.message, "EndTime": ended}
    return {**begun, "State": "Success", "EndTime": ended}


def callback(job: EmulatedJob, options: object) -> Document | None:
    """The message of the Start activity of a run that has started, or of the Report activity of one that has ended."""
    reporting = "Report" if job.over else "Start"
    listed = [
        {"RunId": job.id, **activity}
        for activity in activities(job)
        if job.over or activity["Type"] == "Start"
    ]
    reporter = next((activity for activity in listed if activity["Type"] == reporting), None)
    if reporter is None:
        return None
    failed = job if job.over else job.parts[reporter["Name"]]
    return {
        "RunId": job.id,
        "Name": reporter["Name"],
        "Type": reporting,
        "State": "Fail" if failed.code else "Success",
        **({"Code": failed.code, "Message": failed.message} if failed.code else {}),
        "MediaWorkflowExecution": {
            **execution(job),
            "RequestId": job.request_id,
            "ActivityList": listed,
        },
    }


WORKFLOW = EmulatedKind(
    api=job_kinds.WORKFLOW,
    states=States(waiting="Running", running="Running", success="Completed"),
    missing=("NonExistRunIds", "RunId"),
    reports_start=True,
    submit=submit,
    describe=describe,
    callback=callback,
)
