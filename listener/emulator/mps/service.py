"""MPS 2014-06-18: the RPC calls for intelligent-production jobs and pipelines, in XML and JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from listener.core import clock
from listener.emulator import signatures
from listener.emulator.messages import Reply, Request
from listener.emulator.mps.jobs import NOTIFY_URL, EmulatedJob, JobEngine, Pipeline, loose_object
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options

VERSION = "2014-06-18"
CLOCK_TOLERANCE = timedelta(minutes=15)
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
OSS_URL = re.compile(r"oss://(?P<bucket>[^./]*)\.oss-[a-z0-9-]+\.aliyuncs\.com/(?P<key>.*)", re.DOTALL)
BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
ACS3 = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")

#: Status and text of each error code. Texts of the gateway's own codes are inferred.
ERRORS = {
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "MissingParameter": (
        400,
        "The input parameter {0} that is mandatory for processing this request is not supplied.",
    ),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "IllegalTimestamp": (
        400,
        "The input parameter Timestamp that is mandatory for processing this request is not valid.",
    ),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    "InvalidParameter.JsonObjectFormatInvalid": (400, "The parameter {0} is not a valid JSON object."),
    "InvalidParameter.NullValue": (400, "The parameter {0} must not be null."),
    "InvalidParameter.Format": (400, "The format of the parameter {0} is invalid."),
    "InvalidParameter.BucketNameInvalid": (400, "The bucket name in {0} is invalid."),
    "InvalidParameter.ObjectKeyInvalid": (400, "The object key in {0} is invalid."),
    "InvalidParameter.NumberFormatInvalid": (400, "The parameter {0} is not a number."),
    "InvalidParameter.OutOfRange": (400, "The value of the parameter {0} is out of range."),
    "InvalidParameter.NotSupported": (400, "The value of the parameter {0} is not supported."),
    "InvalidParameter.UUIDFormatInvalid": (400, "The parameter {0} is not a 32-character uuid of [a-f0-9]."),
    "InvalidParameter.ResourceNotFound": (404, "The resource operated {0} cannot be found."),
    "InvalidParameter.InvalidState": (403, "The state of the resource operated {0} is not valid."),
    "PermissionDenied.ResourceQuotaExceed": (403, "The quota of the resource {0} is used up."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
}


class MpsError(Exception):
    """An error of the service, by its code; ``what`` names the parameter or resource."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status, text = ERRORS[code]
        self.text = text.format(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call, independent of its encoding."""

    action: str
    version: str
    parameters: Mapping[str, str]
    json: bool

    def required(self, name: str) -> str:
        value = self.parameters.get(name, "")
        if not value:
            raise MpsError("MissingParameter", name)
        return value


Document = dict[str, Any]
MpsOperation = Callable[[Call], Document]


class Mps:
    """The MPS service of one account."""

    def __init__(self, options: Options, *, rng: Random, engine: JobEngine) -> None:
        self._options = options
        self._rng = rng
        self._engine = engine
        self._nonces: dict[str, datetime] = {}
        self._calls: dict[str, deque[datetime]] = {}
        self._operations: dict[str, MpsOperation] = {
            "SubmitIProductionJob": self._submit,
            "QueryIProductionJob": self._query,
            "SearchPipeline": self._search_pipeline,
            "QueryPipelineList": self._query_pipeline_list,
            "AddPipeline": self._add_pipeline,
            "UpdatePipeline": self._update_pipeline,
        }
        self.reset()

    def reset(self) -> None:
        """Reset all state to that of a new account, including its default pipelines."""
        self._nonces.clear()
        self._calls.clear()
        self._engine.reset()
        self._add(DEFAULT_PIPELINE_ID, "mts-default-pipeline")
        # Jobs without a PipelineId run in a hidden pipeline, which cannot be listed or bound to a queue.
        self._nameless = self._add("", "")

    def answer(self, call: Call, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one call. Never raises MpsError; errors are replies."""
        request_id = self.request_id()
        try:
            self._check_signature(call, request, clock.now() + skew)
            if call.version != VERSION:
                raise MpsError("InvalidVersion")
            operation = self._operations.get(call.action)
            if operation is None:
                raise MpsError("InvalidAction.NotFound")
            self._check_pace(call.action)
            self._engine.advance()
            document = {"RequestId": request_id, **operation(call)}
            return _reply(200, document, root=f"{call.action}Response", as_json=call.json)
        except MpsError as error:
            return self.error(error, call=call, host=request.host, request_id=request_id)

    def error(self, error: MpsError, *, call: Call, host: str, request_id: str = "") -> Reply:
        document = {
            "RequestId": request_id or self.request_id(),
            "HostId": host,
            "Code": error.code,
            "Message": error.text,
            "Recommend": f"https://error-center.aliyun.com/status/search?Keyword={error.code}&source=PopGw",
        }
        return _reply(error.status, document, root="Error", as_json=call.json)

    def request_id(self) -> str:
        digits = f"{self._rng.getrandbits(128):032X}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    # Authentication and rate limits

    def _check_signature(self, call: Call, request: Request, at: datetime) -> None:
        if request.headers.get("authorization", "").startswith("ACS3-"):
            self._check_acs3(request, at)
        else:
            self._check_v1(call, request.method, at)

    def _check_v1(self, call: Call, method: str, at: datetime) -> None:
        self._check_key(call.required("AccessKeyId"))
        given = call.required("Signature")
        if call.required("SignatureMethod") != "HMAC-SHA1" or call.required("SignatureVersion") != "1.0":
            raise MpsError("IncompleteSignature")
        _check_time(call.required("Timestamp"), at)
        unsigned = {name: value for name, value in call.parameters.items() if name != "Signature"}
        expected = signatures.rpc_v1(self._options.access_key_secret, method=method, parameters=unsigned)
        if given != expected:
            raise MpsError("SignatureDoesNotMatch")
        self._check_nonce(call.required("SignatureNonce"))

    def _check_acs3(self, request: Request, at: datetime) -> None:
        parts = ACS3.fullmatch(request.headers["authorization"])
        if parts is None:
            raise MpsError("IncompleteSignature")
        key, signed, given = parts.groups()
        self._check_key(key)
        _check_time(request.headers.get("x-acs-date", ""), at)
        expected = signatures.acs3(
            self._options.access_key_secret,
            method=request.method,
            path=request.path,
            query=dict(parse_qsl(request.raw_query, keep_blank_values=True)),
            headers=request.headers,
            signed=signed,
        )
        digest = hashlib.sha256(request.body).hexdigest()
        if given != expected or request.headers.get("x-acs-content-sha256") != digest:
            raise MpsError("SignatureDoesNotMatch")
        self._check_nonce(request.headers.get("x-acs-signature-nonce", ""))

    def _check_key(self, key: str) -> None:
        if key != self._options.access_key_id:
            raise MpsError("InvalidAccessKeyId.NotFound")

    def _check_nonce(self, nonce: str) -> None:
        if not nonce:
            raise MpsError("MissingParameter", "SignatureNonce")
        at = clock.now()
        if nonce in self._nonces:
            raise MpsError("SignatureNonceUsed")
        self._nonces[nonce] = at
        # An older replay is already rejected by its timestamp. Insertion order is chronological.
        while (oldest := next(iter(self._nonces))) and at - self._nonces[oldest] > 2 * CLOCK_TOLERANCE:
            del self._nonces[oldest]

    def _check_pace(self, action: str) -> None:
        """Enforce the rate limit of one action."""
        at = clock.now()
        recent = self._calls.setdefault(action, deque())
        while recent and at - recent[0] >= timedelta(seconds=1):
            recent.popleft()
        if self._options.calls_per_second and len(recent) >= self._options.calls_per_second:
            raise MpsError("Throttling.User")
        recent.append(at)

    # Jobs

    def _submit(self, call: Call) -> Document:
        call.required("FunctionName")
        self._check_submission(call.parameters)
        pipeline = self._pipeline_for(call.parameters.get("PipelineId", ""))
        given = {name: call.parameters[name] for name in PARAMETERS if call.parameters.get(name)}
        job = self._engine.submit(pipeline, given)
        document: Document = {"JobId": job.id}
        if job.function == "TextToSpeech":
            document["Result"] = job.result
        return document

    @staticmethod
    def _check_submission(parameters: Mapping[str, str]) -> None:
        if loose_object(parameters.get("JobParams", "")) is None:
            raise MpsError("InvalidParameter.JsonObjectFormatInvalid", "JobParams")
        for name in ("Input", "Output"):
            if url := parameters.get(name):
                _check_oss_url(name, url)
        notify = parameters.get("NotifyUrl", "")
        if notify not in {"", "null"} and not NOTIFY_URL.fullmatch(notify):
            raise MpsError("InvalidParameter.Format", "NotifyUrl")

    def _pipeline_for(self, pipeline_id: str) -> Pipeline:
        """The pipeline of a job. A paused pipeline accepts jobs too; they wait."""
        pipeline = self._pipeline(pipeline_id) if pipeline_id else self._nameless
        if len(pipeline.waiting) >= self._options.queue_limit:
            raise MpsError("PermissionDenied.ResourceQuotaExceed", f'"{pipeline_id}"')
        return pipeline

    def _query(self, call: Call) -> Document:
        job_id = call.required("JobId")
        job = self._engine.jobs.get(job_id)
        if job is None or job.forgotten:
            raise MpsError("InvalidParameter.ResourceNotFound", f'"{job_id}"')
        return _job_document(job)

    # Pipelines

    def _add(self, pipeline_id: str, name: str, **fields: Any) -> Pipeline:
        pipeline = Pipeline(id=pipeline_id, name=name, created=f"{clock.now():%Y-%m-%dT%H:%M:%SZ}", **fields)
        self._engine.pipelines[pipeline_id] = pipeline
        return pipeline

    def _pipeline(self, pipeline_id: str) -> Pipeline:
        pipeline = self._engine.pipelines.get(pipeline_id) if pipeline_id else None
        if pipeline is None:
            raise MpsError("InvalidParameter.ResourceNotFound", f'"{pipeline_id}"')
        return pipeline

    def _visible_pipelines(self) -> list[Pipeline]:
        return [pipeline for pipeline in self._engine.pipelines.values() if pipeline.id]

    def _search_pipeline(self, call: Call) -> Document:
        state = call.parameters.get("State") or "All"
        if state not in {"All", "Active", "Paused"}:
            raise MpsError("InvalidParameter.NotSupported", "State")
        number = _whole(call, "PageNumber", default=1, high=1_000_000)
        size = _whole(call, "PageSize", default=10, high=100)
        found = [pipeline for pipeline in self._visible_pipelines() if state in {"All", pipeline.state}]
        page = found[(number - 1) * size : number * size]
        return {
            "TotalCount": len(found),
            "PageNumber": number,
            "PageSize": size,
            "PipelineList": {"Pipeline": [_pipeline_document(pipeline) for pipeline in page]},
        }

    def _query_pipeline_list(self, call: Call) -> Document:
        wanted = call.required("PipelineIds").split(",")
        if len(wanted) > 10:
            raise MpsError("InvalidParameter.OutOfRange", "PipelineIds")
        known = {pipeline.id: pipeline for pipeline in self._visible_pipelines()}
        found = [_pipeline_document(known[one]) for one in wanted if one in known]
        missing = [one for one in wanted if one not in known]
        return {"PipelineList": {"Pipeline": found}, "NonExistPids": {"String": missing}}

    def _add_pipeline(self, call: Call) -> Document:
        pipeline = self._add(
            self._engine.new_id(),
            call.required("Name"),
            speed=call.parameters.get("Speed") or "Standard",
            speed_level=_whole(call, "SpeedLevel", default=1, high=3),
            role=call.parameters.get("Role", ""),
            notify=_notify_config(call),
        )
        return {"Pipeline": _pipeline_document(pipeline)}

    def _update_pipeline(self, call: Call) -> Document:
        """Name and State are required; other parameters keep their value if omitted."""
        pipeline = self._pipeline(call.required("PipelineId"))
        name, state = call.required("Name"), call.required("State")
        if state not in {"Active", "Paused"}:
            raise MpsError("InvalidParameter.NotSupported", "State")
        notify = _notify_config(call) if call.parameters.get("NotifyConfig") else pipeline.notify
        pipeline.name, pipeline.state, pipeline.notify = name, state, notify
        pipeline.role = call.parameters.get("Role", pipeline.role)
        self._engine.advance()
        return {"Pipeline": _pipeline_document(pipeline)}


def read_call(request: Request) -> Call:
    """Parse the call: RPC v1 uses parameters, ACS3 headers. The default format is XML."""
    parameters = dict(parse_qsl(request.raw_query, keep_blank_values=True))
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        parameters |= parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    headers = request.headers
    acs3 = "x-acs-action" in headers
    wanted = parameters.get("Format") or ("JSON" if acs3 and "json" in headers.get("accept", "") else "XML")
    return Call(
        action=headers.get("x-acs-action", "") or parameters.get("Action", ""),
        version=headers.get("x-acs-version", "") or parameters.get("Version", ""),
        parameters=parameters,
        json=wanted.upper() == "JSON",
    )


def _check_time(text: str, at: datetime) -> None:
    try:
        when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MpsError("IllegalTimestamp") from error
    if abs(at - when) > CLOCK_TOLERANCE:
        raise MpsError("InvalidTimeStamp.Expired")


def _check_oss_url(name: str, url: str) -> None:
    parts = OSS_URL.fullmatch(url)
    if parts is None:
        raise MpsError("InvalidParameter.Format", name)
    # The samples in the documentation mask part of the bucket name with asterisks; these are accepted.
    if not BUCKET.fullmatch(parts["bucket"].replace("*", "0")):
        raise MpsError("InvalidParameter.BucketNameInvalid", name)
    if not parts["key"] or len(parts["key"].encode()) > 1023:
        raise MpsError("InvalidParameter.ObjectKeyInvalid", name)


def _notify_config(call: Call) -> dict[str, str]:
    text = call.parameters.get("NotifyConfig") or "{}"
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", "NotifyConfig") from error
    if not isinstance(config, dict):
        raise MpsError("InvalidParameter.JsonObjectFormatInvalid", "NotifyConfig")
    return {key: str(config[key]) for key in ("QueueName", "Topic", "MqTopic", "MqTag") if config.get(key)}


def _whole(call: Call, name: str, *, default: int, high: int) -> int:
    text = call.parameters.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise MpsError("InvalidParameter.NumberFormatInvalid", name)
    if not 1 <= int(text) <= high:
        raise MpsError("InvalidParameter.OutOfRange", name)
    return int(text)


def _job_document(job: EmulatedJob) -> Document:
    """All values are strings; parameters that were not submitted are omitted."""
    names = ("FunctionName", "Input", "Output", "JobParams", "PipelineId", "UserData")
    document = {"JobId": job.id, "State": job.state}
    document |= {name: job.parameters[name] for name in names if name in job.parameters}
    return document | ({"Result": job.result} if job.over else {})


def _pipeline_document(pipeline: Pipeline) -> Document:
    return {
        "Id": pipeline.id,
        "Name": pipeline.name,
        "State": pipeline.state,
        "Speed": pipeline.speed,
        "SpeedLevel": pipeline.speed_level,
        "QuotaAllocate": 10,
        "Role": pipeline.role,
        "CreationTime": pipeline.created,
        "NotifyConfig": pipeline.notify,
    }


def _reply(status: int, document: Document, *, root: str, as_json: bool) -> Reply:
    if as_json:
        body = json.dumps(document, ensure_ascii=False)
        return Reply(
            status=status, body=body.encode("utf-8", "replace"), content_type="application/json;charset=utf-8"
        )
    text = f'<?xml version="1.0" encoding="UTF-8"?>{_xml(root, document)}'
    return Reply(
        status=status, body=text.encode("utf-8", "replace"), content_type="application/xml;charset=utf-8"
    )


def _xml(name: str, value: Any) -> str:
    """Render a JSON value as XML, as the gateway does: a list repeats its element."""
    if isinstance(value, list):
        return "".join(_xml(name, item) for item in value)
    inner = "".join(_xml(*item) for item in value.items()) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inner}</{name}>"
