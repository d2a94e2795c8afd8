"""Every shape of a callback or event that is documented or was captured (docs/mps.md), and where it should go.

``{id}`` in a text stands for its id, which tests choose. The routes are those of ``ROUTES``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tests.support.builders import ABSENT
from tests.support.event_samples import a_vod_event, an_ims_event

#: One handler writes what each route gets. The first route that matches gets a result.
ROUTES: Final = "".join(
    f"""
[[routes]]
name = "{name}"
enrich = false
match = {match}
handlers = [{{{{ use = "jsonl", path = "{{folder}}/results.jsonl" }}}}]
""".replace("'", '"')
    for name, match in {
        "produced": "{{ type = 'IProduction', state = 'Success' }}",
        "not-produced": "{{ type = 'IProduction', state = 'Fail' }}",
        "speech": "{{ callback = {{ 'Data.Result' = [] }} }}",
        "transcoded": "{{ type = 'Transcode' }}",
        "five-snapshots": "{{ type = 'Snapshot', callback = {{ Count = 5 }} }}",
        "no-snapshots": "{{ type = 'Snapshot', state = 'Fail' }}",
        "analysed": "{{ type = ['Analysis', 'MediaInfo'] }}",
        "tagging": "{{ type = 'SmartTag', state = 'Processing' }}",
        "tagged": "{{ type = 'SmartTag' }}",
        "blocked": "{{ type = 'MediaCensor', callback = {{ Result = ['Block', 'Review'] }} }}",
        "fingerprint": "{{ type = 'FpShot' }}",
        "run-begun": "{{ type = 'Start', state = 'Running' }}",
        "run-not-begun": "{{ type = 'Start' }}",
        "run-with-failures": "{{ type = 'Report', activity_state = ['Fail', 'Skipped'] }}",
        "run": "{{ type = 'Report' }}",
        "quality": "{{ user_data = 'quality-*' }}",
        "edited": "{{ type = ['ProduceMediaComplete', 'BatchProduceMediaComplete'], state = 'Success' }}",
        "converted": "{{ type = 'MediaConvertComplete' }}",
        "output": "{{ type = 'MediaConvertOutputComplete' }}",
        "stream": "{{ type = 'StreamTranscodeComplete', callback = {{ Definition = 'LD' }} }}",
        "recording": "{{ type = 'LiveRecordVideoComposeStart', state = 'Running' }}",
        "deleted": "{{ type = 'DeleteMediaComplete', callback = {{ DeleteType = 'all' }} }}",
        "failed": "{{ state = 'Fail' }}",
        "other-events": "{{ callback = {{ EventType = [] }} }}",
    }.items()
)
#: Instead of a route: the message is quarantined.
QUARANTINE: Final = "quarantine"


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape, and the route that gets it."""

    name: str
    route: str
    text: str

    def of(self, id_: str) -> str:
        return self.text.replace("{id}", id_)


def _text(**members: Any) -> str:
    return json.dumps(members)


def _run(phase: str, *states: str, state: str = "Success", **members: Any) -> str:
    """As captured: the list of activities is not in the order of time, and Start has a job id too."""
    activities = [
        {"RunId": "{id}", "Name": "Act-Report", "Type": "Report", "State": "Success"},
        *({"Name": f"Act-{place}", "Type": "Transcode", "State": each} for place, each in enumerate(states)),
        {"RunId": "{id}", "Name": "Act-Start", "Type": "Start", "State": "Success", "JobId": "{id}-s"},
    ]
    execution = {
        "RunId": "{id}",
        "Name": "wf",
        "MediaWorkflowId": "w",
        "MediaId": "m",
        "RequestId": "r",
        "Input": {"InputFile": {"Bucket": "b", "Location": "oss-cn-shanghai", "Object": "o"}},
        "State": "Running" if phase == "Start" else "Completed",
        "ActivityList": activities,
        "CreationTime": "2020-04-29T11:33:32Z",
    }
    return _text(
        RunId="{id}", Name="wf", Type=phase, State=state, MediaWorkflowExecution=execution, **members
    )


_PRODUCTION: Final[dict[str, Any]] = {
    "Code": "Success",
    "Details": [],
    "FunctionName": "VideoH2V",
    "JobId": "{id}",
    "Message": "success",
    "State": "Success",
    "Type": "IProduction",
}
_MPS: Final = (
    Shape("iproduction", "produced", _text(**_PRODUCTION)),
    Shape(
        "iproduction-with-user-data",
        "produced",
        '{"Code":"Success","FunctionName":"AudioMixing","JobId":"{id}","Message":"Successful.",'
        '"State":"Success","Type":"IProduction","UserData":"test"}',
    ),
    Shape(
        "iproduction-failed",
        "not-produced",
        _text(**_PRODUCTION | {"State": "Fail", "Code": "InternalError"}),
    ),
    Shape("iproduction-cut-off", QUARANTINE, _text(**_PRODUCTION).partition(', "Type"')[0][:-2]),
    Shape(
        "text-to-speech-reply",
        "speech",
        '{"jobId":"{id}","requestId":"91BC64BF","result":"{\\"Message\\":\\"completed\\",\\"Data\\":'
        '{\\"result\\":[{\\"file\\":\\"UklGR\\"}]},\\"Code\\":\\"Success\\"}"}',
    ),
    Shape(
        "both-spellings",
        "transcoded",
        '{"jobId":"{id}","requestId":"713C","Type":"Transcode","state":"Success","type":"Transcode",'
        '"State":"Success","JobId":"{id}","RequestId":"713C"}',
    ),
    Shape("lower-case-only", "transcoded", '{"jobId":"{id}","state":"Success","type":"Transcode"}'),
    Shape(
        "long-state",
        "transcoded",
        _text(Type="Transcode", State="TranscodeFail", JobId="{id}", UserData="{}"),
    ),
    Shape(
        "snapshots",
        "five-snapshots",
        '{"jobId":"{id}","JobId":"{id}","Type":"Snapshot","type":"Snapshot","State":"Success","state":"Success",'
        '"userData":"u","UserData":"u","LastUrl":"http://example.com/5.jpg","TimeArray":[1,2,3,4,5],'
        '"UrlPattern":"http://example.com/{Count}.jpg","Count":5}',
    ),
    Shape(
        "snapshots-failed",
        "no-snapshots",
        '{"jobId":"{id}","JobId":"{id}","Type":"Snapshot","type":"Snapshot","State":"Fail","state":"Fail",'
        '"code":"InvalidParameter.TimeArray","msg":"too late","Msg":"too late","userData":"u","UserData":"u"}',
    ),
    Shape("analysis", "analysed", '{"jobId":"{id}","JobId":"{id}","type":"Analysis","State":"Success"}'),
    Shape("media-info", "analysed", _text(Type="MediaInfo", State="Success", JobId="{id}")),
    Shape("smarttag-in-progress", "tagging", _text(Type="smarttag", JobId="{id}", State="Processing")),
    Shape("smarttag", "tagged", _text(Type="smarttag", JobId="{id}", State="Success", UserData='{"k":"v"}')),
    Shape("fpshot-flat", "fingerprint", _text(Type="FpShot", JobId="{id}", State="Success", UserData="u")),
    Shape(
        "fpshot-nested",
        "fingerprint",
        _text(Type="FpShot", UserData="u", FpShotJobNotify={"JobId": "{id}", "State": "Fail"}),
    ),
    Shape(
        "media-censor-flat",
        "blocked",
        _text(
            Type="MediaCensor", JobId="{id}", State="Success", Result="Block", ImageCensorCensorResult=[{}]
        ),
    ),
    Shape(
        "media-censor-nested",
        "blocked",
        _text(
            Type="MediaCensor", MediaCensorJobNotify={"JobId": "{id}", "State": "Success", "Result": "Review"}
        ),
    ),
    Shape("video-quality", "quality", _text(JobId="{id}", State="Success", UserData="quality-7")),
    Shape("workflow-start", "run-begun", _run("Start", "Running")),
    Shape("workflow-start-failed", "run-not-begun", _run("Start", state="Fail", Code="C", Message="m")),
    Shape("workflow-report", "run", _run("Report", "Success", "Success")),
    Shape("workflow-report-with-a-failure", "run-with-failures", _run("Report", "Success", "Fail")),
    Shape("workflow-report-with-a-skipped-one", "run-with-failures", _run("Report", "Skipped")),
    Shape("never-heard-of", "failed", _text(Type="HologramRender", JobId="{id}", State="Failed")),
)
_EVENTS: Final = (
    Shape(
        "ims-edited", "edited", an_ims_event("ProduceMediaComplete", JobId="{id}", MediaId="m", ErrorCode="")
    ),
    Shape(
        "ims-batch-edited",
        "edited",
        an_ims_event("BatchProduceMediaComplete", JobId="{id}", Status="Finished"),
    ),
    Shape("ims-not-edited", "failed", an_ims_event("ProduceMediaComplete", JobId="{id}", Status="Failed")),
    Shape("ims-converted", "converted", an_ims_event("MediaConvertComplete", JobId="{id}")),
    Shape("ims-output", "output", an_ims_event("MediaConvertOutputComplete", JobId="{id}")),
    Shape("ims-medium", "other-events", an_ims_event("RegisterMediaComplete", MediaId="{id}")),
    Shape(
        "vod-stream",
        "stream",
        a_vod_event(
            "StreamTranscodeComplete", VideoId="v", JobId="{id}", Definition="LD", Extend="test data"
        ),
    ),
    Shape("vod-video", "other-events", a_vod_event("TranscodeComplete", VideoId="{id}", StreamInfos=[])),
    Shape(
        "vod-upload-failed",
        "failed",
        a_vod_event("UploadByURLComplete", JobId="{id}", Status="fail", **{"ErrorCode ": "URLInvalidError "}),
    ),
    Shape("vod-recording", "recording", a_vod_event("LiveRecordVideoComposeStart", VideoId="{id}")),
    Shape(
        "vod-deleted",
        "deleted",
        a_vod_event("DeleteMediaComplete", MediaId="{id}", MediaType="video", DeleteType="all"),
    ),
    Shape("vod-image", "other-events", a_vod_event("ImageUploadComplete", ImageId="{id}")),
    Shape("vod-ai", "other-events", a_vod_event("AIMediaDNAComplete", JobId="{id}", MediaId="m", Code="0")),
    Shape(
        "vod-without-status", "other-events", a_vod_event("SnapshotComplete", VideoId="{id}", Status=ABSENT)
    ),
)
SHAPES: Final = (*_MPS, *_EVENTS)
