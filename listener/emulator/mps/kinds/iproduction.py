"""IProduction: jobs of intelligent production, each by one function."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from listener.core import job_kinds
from listener.emulator.mps import sample_results
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.oss import check_url
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

#: The documented form, and the host that one page prints instead; account IDs may be masked, as on these pages.
NOTIFY_URL = re.compile(
    r"mns://[0-9*]+\.(?:mns\.|oss-)[a-z]{2}-[a-z]+(?:-[0-9]+)?\.aliyuncs\.com/queues/"
    r"(?P<queue>[A-Za-z0-9][A-Za-z0-9-]{0,119})"
)
PARAMETERS = (
    "FunctionName",
    "ModelId",
    "JobParams",
    "ScheduleParams",
    "NotifyUrl",
    "UserData",
    "PipelineId",
    "Input",
    "Output",
)


def submit(call: Call, account: Account) -> Document:
    function = call.required("FunctionName")
    _check_submission(call.parameters)
    given = {name: call.parameters[name] for name in PARAMETERS if call.parameters.get(name)}
    notify = NOTIFY_URL.fullmatch(given.get("NotifyUrl", ""))
    job = account.accept(
        Submission(
            request=given,
            function=function,
            input_key=sample_results.object_key(given.get("Input", "")),
            user_data=given.get("UserData", ""),
            notify_queue=notify["queue"] if notify else "",
            answered_at_once=function == "TextToSpeech",
        )
    )
    return {"JobId": job.id} | ({"Result": job.result} if job.over else {})


def describe(job: EmulatedJob) -> Document:
    """All values are strings; parameters that were not submitted are omitted."""
    names = ("FunctionName", "Input", "Output", "JobParams", "PipelineId", "UserData")
    given = job.submission.request
    document = {"JobId": job.id, "State": job.state}
    document |= {name: given[name] for name in names if name in given}
    return document | ({"Result": job.result} if job.over else {})


def result(job: EmulatedJob, options: Options) -> str:
    if job.code:
        return sample_results.failure(job.code, job.message)
    given = job.submission.request
    work = sample_results.Work(
        function=job.function,
        input=given.get("Input", ""),
        output=given.get("Output", ""),
        params=loose_object(given.get("JobParams", "")) or {},
        timestamp=int(job.finished),
    )
    return sample_results.result(work, malformed=options.malformed)


def callback(job: EmulatedJob, options: Options) -> Document | None:
    """Keys in the documented order; AudioMixing has no Details and its own Message."""
    if job.function == "TextToSpeech" and not options.text_to_speech_callback:
        return None
    mixing = job.function == "AudioMixing"
    members: Document = {"Code": job.code or "Success"}
    if not mixing:
        members["Details"] = []
    members["FunctionName"] = job.function
    members["JobId"] = job.id
    members["Message"] = job.message or ("Successful." if mixing else "success")
    members["State"] = job.state
    members["Type"] = "IProduction"
    if job.submission.user_data:
        members["UserData"] = job.submission.user_data
    return members


def _check_submission(parameters: Mapping[str, str]) -> None:
    if loose_object(parameters.get("JobParams", "")) is None:
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", "JobParams")
    for name in ("Input", "Output"):
        if url := parameters.get(name):
            check_url(name, url)
    notify = parameters.get("NotifyUrl", "")
    if notify not in {"", "null"} and not NOTIFY_URL.fullmatch(notify):
        raise MpsError("InvalidParameter.Format", "NotifyUrl")


def loose_object(text: str) -> dict[str, Any] | None:
    """Parsed JobParams; None if they are not a JSON object.

    The documentation's own samples write ``{mode:"gif"}`` and ``null``, so keys may lack their quotes and nothing
    at all is an empty object.
    """
    for form in (text, re.sub(r"([{,]\s*)([A-Za-z_]\w*)\s*:", r'\1"\2":', text)):
        try:
            value = json.loads(form or "null")
        except (ValueError, RecursionError):
            continue
        return {} if value is None else value if isinstance(value, dict) else None
    return None


IPRODUCTION = EmulatedKind(
    api=job_kinds.IPRODUCTION,
    states=States(waiting="Queuing", running="Analysing"),
    submit=submit,
    describe=describe,
    result=result,
    callback=callback,
)
