"""FpShot: which videos of a fingerprint library a file repeats."""

from __future__ import annotations

from listener.core import job_kinds
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import (
    SHORT_USER_DATA_BYTES,
    common_members,
    finish_time,
    nested_callback,
    object_key,
    oss_file,
    user_data,
    user_data_member,
)
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

SHOT = {
    "PrimaryKey": "123456",
    "Similarity": "0.8914769887924194",
    "FpShotSlices": {
        "FpShotSlice": [
            {
                "Input": {"Start": "46.0", "Duration": "48.0"},
                "Duplication": {"Start": "1260.0", "Duration": "48.0"},
            }
        ]
    },
}


def submit(call: Call, account: Account) -> Document:
    source = oss_file(call, "Input")
    call.required("FpShotConfig")
    job = account.accept(
        Submission(
            request={"InputFile": source, "FpShotConfig": call.json_object("FpShotConfig")},
            function=FP_SHOT.api.name,
            input_key=object_key(source),
            user_data=user_data(call, limit=SHORT_USER_DATA_BYTES),
        )
    )
    return {"JobId": job.id}


def describe(job: EmulatedJob) -> Document:
    shown = {**common_members(job), **job.submission.request, **user_data_member(job)}
    found = {"FpShotResult": {"FpShots": {"FpShot": job.result}}} if job.result else {}
    return {**shown, **finish_time(job), **found}


def result(job: EmulatedJob, options: object) -> list[Document]:
    return [] if job.code else [SHOT]


def callback(job: EmulatedJob, options: Options) -> Document:
    return nested_callback(job, options, wrapper="FpShotJobNotify", findings={"FpShots": job.result})


FP_SHOT = EmulatedKind(
    api=job_kinds.FP_SHOT,
    states=States(waiting="Queuing", running="Analysing"),
    lists_all=True,
    submit=submit,
    describe=describe,
    result=result,
    callback=callback,
)
