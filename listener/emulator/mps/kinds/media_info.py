"""MediaInfo: the properties of a media file."""

from __future__ import annotations

from listener.core import job_kinds
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import (
    common_members,
    message_result,
    object_key,
    oss_file,
    pipeline_callback,
    user_data,
    user_data_member,
)
from listener.emulator.mps.kinds.media import Media, properties
from listener.emulator.rpc.call import Call, Document


def submit(call: Call, account: Account) -> Document:
    """With ``Async=false`` the reply has the properties already."""
    source = oss_file(call, "Input")
    asynchronous = call.parameters.get("Async", "").lower() != "false"
    job = account.accept(
        Submission(
            request={"Input": source, "Async": asynchronous},
            function=MEDIA_INFO.api.name,
            input_key=object_key(source),
            user_data=user_data(call),
            answered_at_once=not asynchronous,
        )
    )
    return {"MediaInfoJob": describe(job)}


def activity(source: Document, name: str) -> Submission:
    return Submission(
        request={"Input": source, "Async": True},
        function=MEDIA_INFO.api.name,
        input_key=object_key(source),
    )


def describe(job: EmulatedJob) -> Document:
    found = {"Properties": job.result} if job.result else {}
    return {
        **common_members(job),
        **message_result(job),
        **job.submission.request,
        **user_data_member(job),
        **found,
    }


def result(job: EmulatedJob, options: object) -> Document | None:
    return None if job.code else properties(Media(width="1920", height="1080"))


MEDIA_INFO = EmulatedKind(
    api=job_kinds.MEDIA_INFO,
    states=States(waiting="Analyzing", running="Analyzing"),
    missing=("NonExistMediaInfoJobIds", "String"),
    submit=submit,
    activity=activity,
    describe=describe,
    result=result,
    callback=pipeline_callback,
)
