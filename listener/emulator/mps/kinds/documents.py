"""Members that several kinds of jobs share, in calls, queries and callbacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import EmulatedJob
from listener.emulator.mps.oss import check_bucket, check_key
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

USER_DATA_BYTES = 1024
SHORT_USER_DATA_BYTES = 128  #: of FpShot and MediaCensor


def oss_file(call: Call, name: str) -> Document:
    """A file that a call names by bucket, location and object; the object is URL-encoded."""
    call.required(name)
    given = call.json_object(name)
    return checked_file(given, name=name)


def checked_file(value: Any, *, name: str) -> Document:
    """The same from inside of a parameter, where it may also be JSON text."""
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", name) from error
    if not isinstance(given, dict):
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", name)
    file = {key: str(given[key]) for key in ("Bucket", "Location", "Object", "RoleArn") if given.get(key)}
    check_bucket(name, file.get("Bucket", ""))
    check_key(name, object_key(file))
    return file


def object_key(file: Document) -> str:
    return unquote(file.get("Object", ""))


def short_text(call: Call, name: str, *, limit: int) -> str:
    text = call.parameters.get(name, "")
    if len(text.encode("utf-8", "replace")) > limit:
        raise MpsError("InvalidParameter.OutOfRange", name)
    return text


def user_data(call: Call, *, limit: int = USER_DATA_BYTES) -> str:
    return short_text(call, "UserData", limit=limit)


def time_text(seconds: float) -> str:
    """Seconds since 1970, as the API writes a time."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def common_members(job: EmulatedJob) -> Document:
    """What a query says about every job that is bound to a pipeline; no error is an empty one."""
    return {
        job.kind.api.id: job.id,
        "State": job.state,
        "Code": job.code,
        "Message": job.message,
        "PipelineId": job.pipeline.id,
        "CreationTime": time_text(job.created),
    }


def message_result(job: EmulatedJob) -> Document:
    """Whether the callback has reached its queue or topic: of jobs whose callbacks go by the pipeline."""
    if job.message_id is None:
        return {}
    what = "Topic" if job.topic else "Queue"
    missing = {"ErrorCode": f"{what}NotExist", "ErrorMessage": f"The {what.lower()} does not exist."}
    return {"MNSMessageResult": {"MessageId": job.message_id} if job.message_id else missing}


def user_data_member(job: EmulatedJob) -> Document:
    return {"UserData": job.submission.user_data} if job.submission.user_data else {}


def finish_time(job: EmulatedJob) -> Document:
    return {"FinishTime": time_text(job.finished)} if job.over else {}


def percent(job: EmulatedJob) -> int:
    return 100 if job.over and not job.code else 0


def pipeline_callback(job: EmulatedJob, options: Options) -> Document:
    """The callback of Transcode, Snapshot, Analysis and MediaInfo: each key in both casings, as real ones have it.

    The state is Success or Fail, also for Transcode, whose query has longer names.
    """
    members = {
        "JobId": job.id,
        "RequestId": job.request_id,
        "Type": job.kind.api.name,
        "State": "Fail" if job.code else "Success",
        **user_data_member(job),
        **({"Code": job.code, "Msg": job.message} if job.code else {}),
    }
    both: Document = {}
    for name, value in members.items():
        both |= {f"{name[0].lower()}{name[1:]}": value, name: value}
    return both


def nested_callback(job: EmulatedJob, options: Options, *, wrapper: str, findings: Document) -> Document:
    """The callback of FpShot and MediaCensor, which the documentation shows both flat and nested."""
    failure = {"Code": job.code, "Message": job.message} if job.code else {}
    members = {"JobId": job.id, "State": job.state, **failure, **findings}
    head = {"Type": job.kind.api.name, **user_data_member(job)}
    return {**head, wrapper: members} if options.nested_notify else {**head, **members}
