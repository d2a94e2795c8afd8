"""Whatever is sent, the services answer with one of their own errors and never break."""

from __future__ import annotations

import asyncio
import json
from email.utils import format_datetime
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from listener.core import clock
from listener.emulator import Emulator, Options, signatures
from listener.emulator.messages import Reply, Request
from listener.emulator.mns.errors import ERRORS as MNS_ERRORS
from listener.emulator.mns_open.errors import ERRORS as MNS_OPEN_ERRORS
from listener.emulator.mps.errors import ERRORS as MPS_ERRORS
from listener.emulator.mps.kinds import EMULATED_KINDS
from tests.support.emulator_clients import KEY, NAMESPACE, SECRET

A_FILE = '{"Bucket":"abc","Object":"\\ud800"}'
words = st.sampled_from(
    [
        "",
        "q",
        "messages",
        "subscriptions",
        "..",
        "0",
        "-1",
        "99999999999",
        "true",
        "x" * 200,
        "+",
        "é",
        "{",
        "[[",
        "null",
        "8-abcdefghij",
    ]
)
names = st.sampled_from(
    ["waitseconds", "numOfMessages", "peekonly", "ReceiptHandle", "visibilityTimeout", "metaoverride"]
)
tags = st.sampled_from(
    ["Message", "Messages", "MessageBody", "DelaySeconds", "Priority", "UserProperties", "PropertyValue", "Name",
     "Queue", "VisibilityTimeout", "LoggingEnabled", "ReceiptHandles", "ReceiptHandle", "MessageGroupId", "Topic",
     "MaximumMessageSize", "Subscription", "Endpoint", "NotifyStrategy", "NotifyContentFormat", "FilterTag",
     "MessageTag", "MessageAttributes", "DirectMail", "Account", "LoggingBucket"]
)  # fmt: skip
documents = st.recursive(
    words,
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", tags, st.lists(inner, max_size=4)
    ),
    max_leaves=8,
)


def answer(request: Request) -> Reply:
    async def once() -> Reply:
        emulator = Emulator(Options(seed=1))
        emulator.mns.create("q")
        emulator.mns.topics.create("t")
        emulator.mns.topics.create("q")
        reply = await emulator.answer(request)
        emulator.close()
        return reply

    return asyncio.run(once())


def an_mns_request(method: str, path: str, query: str, body: str) -> Request:
    target = f"{path}?{query}" if query else path
    headers = {"date": format_datetime(clock.now(), usegmt=True), "x-mns-version": "2015-06-06"}
    signature = signatures.mns_v2(SECRET, method=method, headers=headers, target=target, date=headers["date"])
    headers["authorization"] = f"MNS {KEY}:{signature}"
    return Request(
        method=method, path=path, target=target, raw_query=query, headers=headers, body=body.encode()
    )


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH"]),
    kind=st.sampled_from(["queues", "topics"]),
    parts=st.lists(words, max_size=3),
    query=st.dictionaries(names, words.filter(lambda word: word != "30"), max_size=3),
    body=documents,
)
def test_mns_knows_an_answer_to_everything(
    method: str, kind: str, parts: list[str], query: dict[str, str], body: str
) -> None:
    path = "/".join([f"/{kind}", *parts])
    reply = answer(an_mns_request(method, path, "&".join(f"{k}={v}" for k, v in query.items()), body))

    root = ElementTree.fromstring(reply.body) if reply.body else None
    found = (reply.status, root.tag if root is not None else "")
    assert found in _possible_replies(kind, method, parts=parts, root=root)


def _possible_replies(
    kind: str, method: str, *, parts: list[str], root: ElementTree.Element | None
) -> set[tuple[int, str]]:
    """Status and root element: of a success of this method at this address, or of the error that the body names.

    An error inside the emulator is none of them, nor an error with another error's status.
    """
    code = root.findtext(f"{NAMESPACE}Code") if root is not None else None
    if code is not None:
        return {(MNS_ERRORS[code][0], f"{NAMESPACE}Error")} if code != "InternalError" else set()
    created_or_not = {(201, ""), (204, "")}
    if kind == "topics":
        named = {
            "": {"GET": {(200, "Topics")}},
            "topic": {"GET": {(200, "Topic")}, "PUT": created_or_not, "DELETE": {(204, "")}},
            "messages": {"POST": {(201, "Message")}},
            "subscriptions": {"GET": {(200, "Subscriptions")}},
            "subscription": {"GET": {(200, "Subscription")}, "PUT": created_or_not, "DELETE": {(204, "")}},
        }[_resource(parts)]
    elif parts[1:] == ["messages"]:
        named = {
            "GET": {(200, "Message"), (200, "Messages")},
            "POST": {(201, "Message"), (201, "Messages"), (500, "Messages")},
            "PUT": {(200, "ChangeVisibility")},
            "DELETE": {(204, ""), (404, "Errors")},
        }
    elif any(parts):
        named = {"GET": {(200, "Queue")}, "PUT": created_or_not, "DELETE": {(204, "")}}
    else:
        named = {"GET": {(200, "Queues")}}
    return {(status, f"{NAMESPACE}{tag}" if tag else "") for status, tag in named.get(method, set())}


def _resource(parts: list[str]) -> str:
    """Of a path below ``/topics``; slashes at the end do not count."""
    below = "/".join(parts).rstrip("/").split("/")[1:]
    if below and below[0] in ("messages", "subscriptions"):
        return "subscription" if len(below) > 1 else below[0]
    return "topic" if any(parts) else ""


@settings(deadline=None)
@given(
    action=st.sampled_from(
        [
            *("SearchPipeline", "AddPipeline", "UpdatePipeline", "CancelJob", "AddMediaWorkflow", "Other"),
            *(kind.api.submitted_by for kind in EMULATED_KINDS),
            *(kind.api.queried_by for kind in EMULATED_KINDS),
        ]
    ),
    parameters=st.dictionaries(
        st.sampled_from(
            ["FunctionName", "JobParams", "Input", "NotifyUrl", "PipelineId", "JobId", "PageSize", "State", "Name",
             "NotifyConfig", "SpeedLevel", "UserData", "JobIds", "SnapshotJobIds", "MediaInfoJobIds", "Outputs",
             "OutputBucket", "SnapshotConfig", "AnalysisJobIds", "AnalysisConfig", "FpShotConfig", "VideoCensorConfig",
             "CoverImages", "Title", "RunIds", "Topology", "FileURL", "ContentAddr", "NextPageToken", "MaximumPageSize"]
        ),
        words
        | st.text(max_size=20)
        | st.sampled_from(['{"QueueName":"\\ud800"}', "[" * 5000,
                           "oss://b/", A_FILE, "abc", f"[{A_FILE}]", f'{{"OutputFile":{A_FILE}}}',
                           f'[{{"OutputObject":"\\ud800","UserData":"\\ud800","Video":{A_FILE}}}]',
                           f'{{"OutputFile":{A_FILE},"TimeArray":[1]}}', f'{{"OutputFile":{A_FILE},"Num":"\\ud800"}}']),
        max_size=6,
    ),
)  # fmt: skip
def test_mps_knows_an_answer_to_everything(action: str, parameters: dict[str, str]) -> None:
    reply = answer(a_call(action, parameters, version="2014-06-18"))

    document = json.loads(reply.body)
    assert document["RequestId"]
    if reply.status == 200:
        assert "Code" not in document
    else:
        assert reply.status == MPS_ERRORS[document["Code"]][0]
        assert document["Code"] != "InternalError"


#: What all operations of the OpenAPI of MNS need, so that most calls get further than to a missing parameter.
NAMED = {
    "QueueName": "q",
    "TopicName": "t",
    "SubscriptionName": "s",
    "EndpointType": "public",
    "AclStrategy": "allow",
    "ProductName": "oss",
    "RuleName": "r",
}


@settings(deadline=None)
@given(
    action=st.sampled_from([*Emulator().mns_open.operations, "Other"]),
    parameters=st.dictionaries(
        st.sampled_from(
            [*NAMED, "QueueType", "DelaySeconds", "EnableLogging", "DlqPolicy", "TenantRateLimitPolicy", "Tag.1.Key",
             "PageNum", "PageSize", "MaxMessageSize", "TopicType", "PushType", "Endpoint", "NotifyStrategy",
             "NotifyContentFormat", "MessageTag", "CidrList", "LogEnabled", "EventTypes", "MatchRules", "Endpoints",
             "Subscription", "ResourceName"]
        ),
        words
        | st.text(max_size=20)
        | st.sampled_from(['{"Enabled":{}}', '{"DeadLetterTargetQueue":"q","MaxReceiveCount":"\u0663"}',
                           '{"DeadLetterTargetQueue":["q"]}', '{"MaxReceivesPerSecond":1e400}', "[" * 5000, "[[[1]]]",
                           '{"EndpointType":"topic","EndpointValue":"\\ud800"}', '[{"Name":"\\ud800"}]', "queue",
                           "http", "fifo", "acs:mns:r:1:queues/q", "http://127.0.0.1/", "JSON", "0.0.0.0/0,,"]),
        max_size=6,
    ),
)  # fmt: skip
def test_openapi_of_mns_knows_an_answer_to_everything(action: str, parameters: dict[str, str]) -> None:
    reply = answer(a_call(action, NAMED | parameters, version="2022-01-19"))

    document = json.loads(reply.body)
    assert document["RequestId"]
    if reply.status == 200:
        assert (document["Code"], document["Success"]) == (200, True)
    else:
        assert reply.status == MNS_OPEN_ERRORS[document["Code"]][0]
        assert document["Code"] != "InternalError"


def a_call(action: str, parameters: dict[str, str], *, version: str) -> Request:
    fields = {
        "Action": action,
        "Version": version,
        "Format": "JSON",
        "AccessKeyId": KEY,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": "n",
        "Timestamp": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}",
        **{name: value.encode("utf-8", "replace").decode() for name, value in parameters.items()},
    }
    fields["Signature"] = signatures.rpc_v1(SECRET, method="GET", parameters=fields)
    query = signatures.canonical_query(fields)
    return Request(method="GET", path="/", target="/", raw_query=query, headers={}, body=b"")
