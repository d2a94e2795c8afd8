"""Snapshot: one picture, a sequence of them, or one for each of several points in time."""

from __future__ import annotations

import re
from urllib.parse import quote

from listener.core import job_kinds
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, Failure, States, Submission
from listener.emulator.mps.kinds.documents import (
    checked_file,
    common_members,
    message_result,
    object_key,
    oss_file,
    pipeline_callback,
    user_data,
    user_data_member,
)
from listener.emulator.mps.kinds.media import SECONDS
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

#: As the documentation has it in a callback.
TOO_LATE: Failure = ("InvalidParameter.TimeArray", "TimeArray greater than video duration.")
FILES = ("OutputFile", "TileOutputFile")


def submit(call: Call, account: Account) -> Document:
    """A job with none of Interval, Num and TimeArray is done when its submission is answered."""
    source = oss_file(call, "Input")
    call.required("SnapshotConfig")
    config = call.json_object("SnapshotConfig")
    times = _time_array(config)
    for name in FILES:
        if name == "OutputFile" or name in config:
            config[name] = checked_file(config.get(name, {}), name=name)
    if not re.fullmatch("[1-9][0-9]{0,3}", str(config.get("Num", 1))):
        raise MpsError("InvalidParameter.NumberFormatInvalid", "Num")
    job = account.accept(
        Submission(
            request={"Input": source, "SnapshotConfig": config},
            function=SNAPSHOT.api.name,
            input_key=object_key(source),
            user_data=user_data(call),
            answered_at_once=not times and not config.keys() & {"Interval", "Num"},
            failure=TOO_LATE if max(times, default=0) > SECONDS * 1000 else None,
        )
    )
    return {"SnapshotJob": describe(job)}


def _time_array(config: Document) -> list[int]:
    """Milliseconds, ascending."""
    times = config.get("TimeArray", [])
    if not isinstance(times, list) or not all(type(time) is int for time in times) or times != sorted(times):
        raise MpsError("InvalidParameter", "TimeArray")
    return times


def activity(source: Document, name: str) -> Submission:
    target = {**source, "Object": f"{name}/{{Count}}.jpg"}
    return Submission(
        request={"Input": source, "SnapshotConfig": {"OutputFile": target}},
        function=SNAPSHOT.api.name,
        input_key=object_key(source),
    )


def describe(job: EmulatedJob) -> Document:
    config = dict(job.submission.request["SnapshotConfig"])
    if "TimeArray" in config:
        config["TimeArray"] = {"TimePointList": config["TimeArray"]}
    shown = {"Input": job.submission.request["Input"], "SnapshotConfig": config}
    counted = {"Count": str(job.result)} if job.result else {}
    return {**common_members(job), **message_result(job), **shown, **user_data_member(job), **counted}


def result(job: EmulatedJob, options: object) -> int:
    """How many pictures there are."""
    config = job.submission.request["SnapshotConfig"]
    return 0 if job.code else len(config.get("TimeArray", [])) or int(config.get("Num", 1))


def callback(job: EmulatedJob, options: Options) -> Document:
    """Only a job with points in time says where its pictures are."""
    members = pipeline_callback(job, options)
    config = job.submission.request["SnapshotConfig"]
    if not config.get("TimeArray") or job.code:
        return members
    pattern = picture_url(config["OutputFile"])
    return members | {
        "Count": job.result,
        "TimeArray": config["TimeArray"],
        "UrlPattern": pattern,
        "LastUrl": pattern.replace("{Count}", f"{job.result:05d}"),
    }


def picture_url(file: Document) -> str:
    location = file.get("Location") or "oss-cn-hangzhou"
    return f"http://{file['Bucket']}.{location}.aliyuncs.com/{quote(object_key(file), safe='/{}', errors='replace')}"


SNAPSHOT = EmulatedKind(
    api=job_kinds.SNAPSHOT,
    states=States(waiting="Submitted", running="Snapshoting"),
    missing=("NonExistSnapshotJobIds", "String"),
    lists_all=True,
    submit=submit,
    activity=activity,
    describe=describe,
    result=result,
    callback=callback,
)
