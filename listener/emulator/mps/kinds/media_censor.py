"""MediaCensor: whether a video, its cover images and its texts may be published."""

from __future__ import annotations

from listener.core import job_kinds
from listener.emulator.mps.errors import MpsError
from listener.emulator.mps.jobs import Account, EmulatedJob, EmulatedKind, States, Submission
from listener.emulator.mps.kinds.documents import (
    SHORT_USER_DATA_BYTES,
    checked_file,
    common_members,
    finish_time,
    nested_callback,
    object_key,
    oss_file,
    short_text,
    user_data,
    user_data_member,
)
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call, Document

MAX_COVERS = 5
#: The parameter of each text: how many bytes it may have, and the member of its result.
TEXTS = {
    "Title": (64, "TitleCensorResult"),
    "Description": (128, "DescCensorResult"),
    "Barrages": (8192, "BarrageCensorResult"),
}
#: The suggestion for an object whose key contains the word, with its label; the most severe first.
LABELS = {"block": "porn", "review": "sexy"}


def submit(call: Call, account: Account) -> Document:
    source = oss_file(call, "Input")
    call.required("VideoCensorConfig")
    given = call.json_object("VideoCensorConfig")
    config = {name: given[name] for name in ("BizType", "VideoCensor", "OutputFile") if name in given}
    if "OutputFile" in config:
        config["OutputFile"] = checked_file(config["OutputFile"], name="OutputFile")
    covers = call.json_array("CoverImages")
    if len(covers) > MAX_COVERS:
        raise MpsError("InvalidParameter.OutOfRange", "CoverImages")
    request = {
        "Input": source,
        "VideoCensorConfig": config,
        "covers": [checked_file(cover, name="CoverImages") for cover in covers],
        "texts": [name for name, (limit, _) in TEXTS.items() if short_text(call, name, limit=limit)],
    }
    job = account.accept(
        Submission(
            request=request,
            function=MEDIA_CENSOR.api.name,
            input_key=object_key(source),
            user_data=user_data(call, limit=SHORT_USER_DATA_BYTES),
        )
    )
    return {"JobId": job.id}


def describe(job: EmulatedJob) -> Document:
    given = job.submission.request
    shown = {name: given[name] for name in ("Input", "VideoCensorConfig")}
    return {
        **common_members(job),
        **shown,
        **user_data_member(job),
        **finish_time(job),
        **(job.result or {}),
    }


def describe_detail(job: EmulatedJob) -> Document:
    return {"MediaCensorJobDetail": describe(job)}


def result(job: EmulatedJob, options: object) -> Document:
    """Texts always pass; video and cover images are judged by their keys, and the most severe suggestion counts."""
    if job.code:
        return {}
    given = job.submission.request
    video = _judged(job.submission.input_key, scene="porn")
    images = [_judged(object_key(cover), scene="porn") for cover in given["covers"]]
    suggestions = {judged["Suggestion"] for judged in (video, *images)}
    found: Document = {
        "Suggestion": next(word for word in (*LABELS, "pass") if word in suggestions),
        "VensorCensorResult": {
            "CensorResults": {"CensorResult": [video]},
            "VideoTimelines": {
                "VideoTimeline": [{"Timestamp": "00:00:01.000", "CensorResults": {"CensorResult": [video]}}]
            },
        },
    }
    if images:
        covers = [
            {**cover, "Results": {"Result": [image]}}
            for cover, image in zip(given["covers"], images, strict=True)
        ]
        found["CoverImageCensorResults"] = {"CoverImageCensorResult": covers}
    return found | {TEXTS[name][1]: _judged("", scene="antispam") for name in given["texts"]}


def _judged(key: str, *, scene: str) -> Document:
    suggestion = next((word for word in LABELS if word in key), "pass")
    label = LABELS.get(suggestion, "normal")
    return {"Label": label, "Suggestion": suggestion, "Scene": scene, "Rate": "99.91"}


def callback(job: EmulatedJob, options: Options) -> Document:
    """Its Result is the Suggestion of the query, capitalised."""
    given = job.submission.request
    findings = {"Input": given["Input"]}
    if job.result:
        findings["Result"] = job.result["Suggestion"].capitalize()
        findings |= {TEXTS[name][1]: job.result[TEXTS[name][1]] for name in given["texts"]}
    return nested_callback(job, options, wrapper="MediaCensorJobNotify", findings=findings)


MEDIA_CENSOR = EmulatedKind(
    api=job_kinds.MEDIA_CENSOR,
    states=States(waiting="Queuing", running="Analysing"),
    lists_all=True,
    details={"QueryMediaCensorJobDetail": describe_detail},
    submit=submit,
    describe=describe,
    result=result,
    callback=callback,
)
