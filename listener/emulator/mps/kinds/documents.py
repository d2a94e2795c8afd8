"""Members that several kinds of jobs share, in calls, queries and callbacks."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

from listener.emulator.mps.call import Call, Document
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import EmulatedJob
from listener.emulator.mps.oss import check_bucket, check_key
from listener.emulator.options import Options

USER_DATA_BYTES = 1024


def oss_file(call: Call, name: str) -> Document:
    """A file that a call names by bucket, location and object; the object is URL-encoded."""
    call.required(name)
    given = call.json_object(name)
    return checked_file(given, name=name)


def checked_file(given: Document, *, name: str) -> Document:
    file = {key: str(given[key]) for key in ("Bucket", "Location", "Object", "RoleArn") if given.get(key)}
    check_bucket(name, file.get("Bucket", ""))
    check_key(name, object_key(file))
    return file


def object_key(file: Document) -> str:
    return unquote(file.get("Object", ""))


def user_data(call: Call, *, limit: int = USER_DATA_BYTES) -> str:
    text = call.parameters.get("UserData", "")
    if len(text.encode()) > limit:
        raise MpsError("InvalidParameter.OutOfRange", "UserData")
    return text


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


def user_data_member(job: EmulatedJob) -> Document:
    return {"UserData": job.submission.user_data} if job.submission.user_data else {}


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
