"""smarttag: what is seen and said in a video. Its callbacks report each change of state, but no reason of a failure."""

from __future__ import annotations

import json
import re
from typing import Any

from listener.core import job_kinds
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import user_data, user_data_member
from listener.emulator.rpc.call import Call, Document

#: One of these parameters has what is to be tagged.
CONTENTS = ("Input", "ContentAddr", "Content")
VIDEO_LABEL = {
    "persons": [],
    "tags": [
        {
            "mainTagName": "Scene",
            "subTagName": "Beach",
            "ratio": 0.25,
            "occurrences": [{"score": 0.776, "from": 2.44, "to": 5.32}],
        }
    ],
    "classifications": [{"category1": "Life", "category2": "Travel", "score": 0.688}],
}
TEXT_LABEL = {"tags": [{"name": "Keyword", "value": "sea,sun"}]}


def submit(call: Call, account: Account) -> Document:
    """A NotifyUrl is for callbacks over HTTP, which are not emulated."""
    for name in ("PipelineId", "Title"):
        call.required(name)
    content = next((call.parameters[name] for name in CONTENTS if call.parameters.get(name)), "")
    if not content:
        raise MpsError("MissingParameter", "Input")
    if not re.match("https?://|$", call.parameters.get("NotifyUrl", "")):
        raise MpsError("InvalidParameter.Format", "NotifyUrl")
    job = account.accept(
        Submission(request={}, function=SMARTTAG.api.name, input_key=content, user_data=user_data(call))
    )
    return {"JobId": job.id}


def describe(job: EmulatedJob) -> Document:
    failure = {"Message": job.message} if job.code else {}
    found = {"Results": {"Result": job.result}} if job.result else {}
    return {"JobStatus": job.state, **user_data_member(job), **failure, **found}


def result(job: EmulatedJob, options: object) -> list[Document]:
    """Each result has its data as JSON text."""
    if job.code:
        return []
    return [
        {"Type": "VideoLabel", "Data": _json(VIDEO_LABEL)},
        {"Type": "TextLabel", "Data": _json(TEXT_LABEL)},
    ]


def callback(job: EmulatedJob, options: object) -> Document:
    return {"Type": SMARTTAG.api.name, "JobId": job.id, "State": job.state, **user_data_member(job)}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


SMARTTAG = EmulatedKind(
    api=job_kinds.SMARTTAG,
    states=States(waiting="Submitted", running="Processing"),
    reports_start=True,
    submit=submit,
    describe=describe,
    result=result,
    callback=callback,
)
