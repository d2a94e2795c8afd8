"""Workflow: a run of several activities on one file, which reports when its Start and its Report are done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from listener.core import job_kinds
from listener.emulator.mps.call import Call, Document
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import (
    BAD_CONTENT,
    BAD_CONTENT_TEXT,
    Account,
    EmulatedJob,
    EmulatedKind,
    States,
    Submission,
)
from listener.emulator.mps.kinds.documents import (
    USER_DATA_BYTES,
    checked_file,
    object_key,
    short_text,
    time_text,
)
from listener.emulator.mps.oss import HTTP_URL


def submit(call: Call, account: Account) -> Document:
    """Add a medium, and run a workflow on it if the call names one."""
    url = call.required("FileURL")
    parts = HTTP_URL.fullmatch(url)
    if parts is None:
        raise MpsError("InvalidParameter.Format", "FileURL")
    named = {"Bucket": parts["bucket"], "Location": parts["location"], "Object": parts["key"]}
    file = checked_file(named, name="FileURL")
    medium: Document = {"MediaId": derived_id(url), "File": {"URL": url, "State": "Normal"}}
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
        )
    )
    return {"Media": medium | {"RunIdList": {"RunId": [run.id]}}}


def derived_id(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


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
    begun = [name for name in types if job.started and (job.over or types[name] == "Start")]
    begun.sort(key=lambda name: {"Report": 0, "Start": 2}.get(types[name], 1))
    return [_activity(job, name, kind=types[name]) for name in begun]


def _activity(job: EmulatedJob, name: str, *, kind: str) -> Document:
    """An activity fails if the job does, or if its own name has ``fail`` in it."""
    working = kind not in {"Start", "Report"}
    fails = working and (bool(job.code) or "fail" in name.lower())
    failure = {"Code": job.code or BAD_CONTENT, "Message": job.message or BAD_CONTENT_TEXT}
    return {
        "Name": name,
        "Type": kind,
        **({} if kind == "Report" else {"JobId": derived_id(f"{job.id}/{name}")}),
        "State": "Fail" if fails else "Success",
        **(failure if fails else {}),
        "StartTime": time_text(job.finished if kind == "Report" else job.started),
        "EndTime": time_text(job.started if kind == "Start" else job.finished),
    }


def callback(job: EmulatedJob, options: object) -> Document | None:
    """The message of the Start activity of a run that has started, or of the Report activity of one that has ended."""
    reporting = "Report" if job.over else "Start"
    types: Mapping[str, str] = job.submission.request["workflow"].activities
    name = next((name for name in types if types[name] == reporting), None)
    if name is None:
        return None
    listed = [{"RunId": job.id, **activity} for activity in activities(job)]
    return {
        "RunId": job.id,
        "Name": name,
        "Type": reporting,
        "State": "Fail" if job.code else "Success",
        **({"Code": job.code, "Message": job.message} if job.code else {}),
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
