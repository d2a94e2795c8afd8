"""One job of each kind, for those that need what MPS reports about it without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from listener.core.job_kinds import JobKind
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, Pipeline, Submission
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.mps.workflows import MediaWorkflow
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

_FOLDER: Final = {"Bucket": "media", "Location": "oss-cn-shanghai"}
_WORKFLOW: Final = MediaWorkflow(
    id="0" * 32,
    name="publish",
    activities={"Act-Start": "Start", "Act-Transcode": "Transcode", "Act-Report": "Report"},
    queue="",
)
#: One of its activities fails by itself, see ``listener.emulator.mps.kinds.workflow``.
PARTLY_FAILING: Final = MediaWorkflow(
    id="1" * 32,
    name="publish",
    activities={"Act-Start": "Start", "Act-Transcode-fail": "Transcode", "Act-Report": "Report"},
    queue="",
)
_WORKFLOWS: Final = {each.id: each for each in (_WORKFLOW, PARTLY_FAILING)}


def file_text(key: str) -> str:
    """The parameter of a call that names this object."""
    return json.dumps({**_FOLDER, "Object": key})


_INPUT, _PIPELINE = file_text("in/talk.mp4"), "0" * 32
#: What is submitted of each kind.
_SUBMISSIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "IProduction": {
        "FunctionName": "Cover",
        "Input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
        "Output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
    },
    "Transcode": {
        "Input": _INPUT,
        "PipelineId": _PIPELINE,
        "OutputBucket": _FOLDER["Bucket"],
        "OutputLocation": _FOLDER["Location"],
        "Outputs": json.dumps([{"OutputObject": "out/talk.mp4", "TemplateId": "S00000001-200010"}]),
    },
    "Snapshot": {
        "Input": _INPUT,
        "SnapshotConfig": json.dumps(
            {"OutputFile": {**_FOLDER, "Object": "out/talk-{Count}.jpg"}, "TimeArray": [1000, 5000, 9000]}
        ),
    },
    "Analysis": {"Input": _INPUT, "PipelineId": _PIPELINE},
    "MediaInfo": {"Input": _INPUT, "Async": "true"},
    "smarttag": {"Input": _INPUT, "PipelineId": _PIPELINE, "Title": "a talk"},
    "FpShot": {"Input": _INPUT, "FpShotConfig": json.dumps({"FpDBId": "library", "PrimaryKey": "7"})},
    "MediaCensor": {
        "Input": _INPUT,
        "Title": "a talk",
        "VideoCensorConfig": json.dumps({"OutputFile": {**_FOLDER, "Object": "out/talk-{Count}.jpg"}}),
    },
    "Workflow": {
        "FileURL": "http://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
        "MediaWorkflowId": _WORKFLOW.id,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """What is to be the same in its callback and in queries. A job with a code has failed."""

    id: str
    pipeline: str
    user_data: str
    code: str
    message: str
    created: datetime
    finished: datetime
    ended: bool = True  #: or has it only started
    parameters: Mapping[str, str] = field(default_factory=dict)  #: of its submission, besides the usual ones


def reports_of(kind: JobKind, sample: SampleJob) -> tuple[Document, Document]:
    """The callback of a job of any kind, and the job in the reply to a query."""
    emulated = next(each for each in EMULATED_KINDS if each.api == kind)
    jobs: list[EmulatedJob] = []

    def accept(submission: Submission) -> EmulatedJob:
        submission = replace(submission, user_data=sample.user_data)
        jobs.append(_job(emulated, submission, sample, id_=sample.id))
        return jobs[-1]

    parameters = {**_SUBMISSIONS[kind.name], **sample.parameters}
    call = Call(action=kind.submitted_by, version="", parameters=parameters, json=True)
    emulated.submit(call, Account(accept=accept, workflows=_WORKFLOWS))
    return emulated.callback(jobs[0], Options()) or {}, emulated.describe(jobs[0])


def _derived(text: str) -> UUID:
    """The same for the same text, so that a sample does not change, and two samples have no id in common."""
    return uuid5(NAMESPACE_OID, text)


def _job(kind: EmulatedKind, submission: Submission, sample: SampleJob, *, id_: str) -> EmulatedJob:
    """With the jobs that it consists of: if it failed, so did those that were not skipped."""
    final = kind.states.fail if sample.code else kind.states.success
    job = EmulatedJob(
        id=id_,
        number=1,
        kind=kind,
        pipeline=Pipeline(id=sample.pipeline, name=""),
        submission=submission,
        request_id=str(_derived(f"request/{id_}")).upper(),
        created=sample.created.timestamp(),
        fails=bool(sample.code),
        state=final if sample.ended else kind.states.running,
        code=sample.code,
        message=sample.message,
        started=sample.created.timestamp(),
        finished=sample.finished.timestamp(),
    )
    for number, (name, part) in enumerate(submission.parts.items(), 1):
        if part.opens or (sample.ended and not sample.code):
            code, message = part.submission.failure or (sample.code, sample.message)
            own = replace(sample, ended=True, code=code, message=message)
            job.parts[name] = _job(part.kind, part.submission, own, id_=_derived(f"{id_}/{number}").hex)
    if sample.ended:
        job.result = kind.result(job, Options())
    return job
