"""Analysis: which preset templates suit a file."""

from __future__ import annotations

from listener.core import job_kinds
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import (
    common_members,
    message_result,
    object_key,
    oss_file,
    percent,
    pipeline_callback,
    user_data,
    user_data_member,
)
from listener.emulator.rpc.call import Call, Document

TEMPLATE = {
    "Id": "S00000000-000020",
    "Name": "FLV-UD",
    "State": "Normal",
    "Container": {"Format": "flv"},
    "Video": {
        "Codec": "H.264",
        "Profile": "high",
        "Width": "1280",
        "Height": "720",
        "Fps": "25",
        "Gop": "250",
    },
    "Audio": {"Codec": "AAC", "Samplerate": "44100", "Bitrate": "128", "Channels": "2"},
}


def submit(call: Call, account: Account) -> Document:
    call.required("PipelineId")
    source = oss_file(call, "Input")
    priority = call.whole_number("Priority", default=6, high=10)
    job = account.accept(
        Submission(
            request={
                "InputFile": source,
                "Priority": str(priority),
                "AnalysisConfig": call.json_object("AnalysisConfig"),
            },
            function=ANALYSIS.api.name,
            input_key=object_key(source),
            user_data=user_data(call),
        )
    )
    return {"AnalysisJob": describe(job)}


def activity(source: Document, name: str) -> Submission:
    return Submission(request={"InputFile": source}, function=ANALYSIS.api.name, input_key=object_key(source))


def describe(job: EmulatedJob) -> Document:
    shown = {**common_members(job), **message_result(job), **job.submission.request, **user_data_member(job)}
    found = {"TemplateList": {"Template": job.result}} if job.result else {}
    return {**shown, "Percent": percent(job), **found}


def result(job: EmulatedJob, options: object) -> list[Document]:
    return [] if job.code else [TEMPLATE]


ANALYSIS = EmulatedKind(
    api=job_kinds.ANALYSIS,
    states=States(waiting="Submitted", running="Analyzing"),
    missing=("NonExistAnalysisJobIds", "String"),
    submit=submit,
    activity=activity,
    describe=describe,
    result=result,
    callback=pipeline_callback,
)
