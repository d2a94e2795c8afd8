"""A submission of each kind of jobs for the emulator, and what comes of it: by the official SDK and our own queue."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import httpx

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mns_queue import MnsQueue
from listener.core.job_kinds import JobKind
from listener.core.model import Result
from listener.emulator import DEFAULT_PIPELINE_ID
from listener.formats import callback
from tests.support.emulator_clients import BUCKET, KEY, SECRET, BareMps

USER_DATA = "order-7"
FILE_URL = "http://example-bucket.oss-cn-shanghai.aliyuncs.com/in/a%20film.mp4"


def oss_file(key: str = "in/film.mp4") -> str:
    return json.dumps({"Bucket": "example-bucket", "Location": "oss-cn-shanghai", "Object": key})


#: The parameters of a submission of each kind, except for its input, pipeline and user data.
SUBMISSIONS: Mapping[str, Mapping[str, str]] = {
    "IProduction": {
        "FunctionName": "VideoClip",
        "JobParams": "{}",
        "Output": f"{BUCKET}/out/{{source}}.mp4",
    },
    "Transcode": {
        "OutputBucket": "example-bucket",
        "OutputLocation": "oss-cn-shanghai",
        "Outputs": json.dumps(
            [{"OutputObject": "out/film.mp4", "TemplateId": "S00000001-200010", "UserData": USER_DATA}]
        ),
    },
    "Snapshot": {
        "SnapshotConfig": json.dumps(
            {
                "OutputFile": {
                    "Bucket": "example-bucket",
                    "Location": "oss-cn-shanghai",
                    "Object": "out/{Count}.jpg",
                },
                "Num": "3",
                "Interval": "2",
            }
        )
    },
    "Analysis": {"Priority": "8", "AnalysisConfig": json.dumps({"QualityControl": {"RateQuality": "25"}})},
    "MediaInfo": {"Async": "true"},
    "smarttag": {"Title": "a film"},
    "FpShot": {"FpShotConfig": json.dumps({"FpDBId": "library", "PrimaryKey": "7", "SaveType": "nosave"})},
    "MediaCensor": {
        "Title": "a film",
        "VideoCensorConfig": json.dumps({"BizType": "common"}),
        "CoverImages": f"[{oss_file('in/cover.jpg')}]",
    },
}


def parameters_of(kind: JobKind, *, key: str = "in/film.mp4", **others: str) -> dict[str, str]:
    """A submission of this kind to the default pipeline, with this object as its input."""
    source = f"{BUCKET}/{key}" if kind.name == "IProduction" else oss_file(key)
    given = {"Input": source, "PipelineId": DEFAULT_PIPELINE_ID, **SUBMISSIONS[kind.name]}
    if kind.name != "Transcode":
        given["UserData"] = USER_DATA
    return given | others


def submit_job(mps: BareMps, kind: JobKind, **parameters: str) -> str:
    (job_id,) = job_ids(done(mps.call(kind.submitted_by, **parameters_of(kind, **parameters))))
    return job_id


def query_job(mps: BareMps, kind: JobKind, job_id: str) -> dict[str, Any]:
    """What the query of its kind says about one job."""
    found: Any = done(mps.call(kind.queried_by, **{kind.ids: job_id}))
    for name in kind.entries:
        found = found[name]
    if kind.entries:
        (found,) = found
    job: dict[str, Any] = found
    return job


def done(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def job_ids(reply: Any) -> list[str]:
    """The ids in the reply to a submission, wherever they are in it."""
    if isinstance(reply, list):
        return [job_id for item in reply for job_id in job_ids(item)]
    if not isinstance(reply, dict):
        return []
    own = [reply[name] for name in ("JobId", "Id", "RunId") if name in reply]
    return own or [job_id for value in reply.values() for job_id in job_ids(value)]


def call_sdk(client: Any, operation: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Call an operation with the official SDK's own models; the reply is what its model kept of it."""
    from alibabacloud_mts20140618 import models

    request = getattr(models, f"{operation}Request")().from_map(parameters)
    method = re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).lower()
    reply: dict[str, Any] = getattr(client, method)(request).body.to_map()
    return reply


def bind_pipeline(mps: BareMps, queue: str = "q", *, topic: str = "") -> None:
    """Have the callbacks of the default pipeline's jobs sent to a queue or a topic."""
    config = json.dumps({"Topic": topic} if topic else {"QueueName": queue})
    done(
        mps.call(
            "UpdatePipeline", PipelineId=DEFAULT_PIPELINE_ID, Name="n", State="Active", NotifyConfig=config
        )
    )


def received(url: str, count: int = 1, *, queue: str = "q") -> list[Result]:
    """The next callbacks of a queue, received and decoded as the daemon does it."""
    results: list[Result] = []
    access = Credentials(lambda: AccessKey(KEY, SECRET))
    with closing(MnsQueue(endpoint=url, queue=queue, name="mine", credentials=access)) as adapter:
        while len(results) < count:
            messages = adapter.receive(limit=16, wait=timedelta(seconds=20))
            results += [callback.decode(message.body) for message in messages]
            adapter.delete(messages)
    return results


def topology(*names: str, queue: str = "q", report: bool = True) -> str:
    """Start, then an activity for each name, which begins with its type, then Report."""
    start = {"PipelineId": DEFAULT_PIPELINE_ID, "MessageType": "Queue", "QueueName": queue}
    activities: dict[str, Any] = {"Act-Start": {"Type": "Start", "Parameters": start}}
    activities |= {name: {"Type": name.partition("-")[0], "Parameters": {}} for name in names}
    if report:
        activities["Act-Report"] = {"Type": "Report", "Parameters": {}}
    return json.dumps({"Activities": activities, "Dependencies": {}})


def add_workflow(mps: BareMps, *names: str, **options: Any) -> str:
    added = done(mps.call("AddMediaWorkflow", Name="mine", Topology=topology(*names, **options)))
    workflow_id: str = added["MediaWorkflow"]["MediaWorkflowId"]
    return workflow_id


def start_run(mps: BareMps, workflow_id: str, **parameters: str) -> str:
    given = {"FileURL": FILE_URL, "MediaWorkflowId": workflow_id, **parameters}
    (run_id,) = done(mps.call("AddMedia", **given))["Media"]["RunIdList"]["RunId"]
    return str(run_id)
