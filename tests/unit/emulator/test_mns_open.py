"""The emulator's OpenAPI of MNS: every operation of the official client, and what it changes for the other protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import pytest

from listener.emulator import Emulator
from listener.emulator.faults import Fault, FaultKind
from listener.emulator.server import RunningEmulator
from tests.support.cases import each_case
from tests.support.emulator_clients import BareMns, BareRpc, elements, mns_open_client, records

DEAD = {"Enabled": True, "DeadLetterTargetQueue": "dead", "MaxReceiveCount": 3}
QUEUE_ENDPOINT = "acs:mns:cn-shanghai:1234567890:queues/q"
RULE = {
    "ProductName": "oss",
    "RuleName": "uploads",
    "EventTypes": ["ObjectCreated:PutObject"],
    "MatchRules": [[{"Name": "bucket-7", "MatchState": True}, {"Suffix": ".mp4", "MatchState": True}]],
    "Endpoint": {"EndpointType": "topic", "EndpointValue": "news"},
}


@pytest.fixture
def client(server: RunningEmulator) -> Any:
    return mns_open_client(server.port)


@pytest.fixture
def rpc(server: RunningEmulator) -> Iterator[BareRpc]:
    bare = BareRpc(server.url, version="2022-01-19")
    with bare.http:
        yield bare


def call(client: Any, operation: str, **parameters: Any) -> Any:
    """Call an operation with the official client's own models; the Data of the reply, as its model kept it."""
    from alibabacloud_mns_open20220119 import models

    method = getattr(client, re.sub("(?<=[a-z])(?=[A-Z])", "_", operation).lower())
    body = method(getattr(models, f"{operation}Request")().from_map(parameters)).body
    assert (body.code, body.status, body.success) == (200, "Success", True)
    assert body.request_id
    return body.to_map().get("Data")


@contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect the official client to raise this error."""
    from darabonba.exceptions import DaraException

    with pytest.raises(DaraException) as failure:
        yield
    assert failure.value.code == code


def test_every_operation_of_the_official_client_is_answered(server: RunningEmulator, client: Any) -> None:
    methods = {
        name.removesuffix("_with_options").replace("_", "")
        for name in dir(client)
        if name.endswith("_with_options")
    }

    assert methods == {name.lower() for name in server.emulator.mns_open.operations}


@pytest.mark.parametrize("algorithm", [None, "v2"], ids=["acs3", "rpc-v1"])
def test_queue_has_the_attributes_that_it_was_created_with(
    server: RunningEmulator, bare: BareMns, algorithm: str | None
) -> None:
    client = mns_open_client(server.port, algorithm)
    numbers = {
        "DelaySeconds": 1,
        "MaximumMessageSize": 2048,
        "MessageRetentionPeriod": 600,
        "VisibilityTimeout": 45,
        "PollingWaitSeconds": 5,
    }
    call(client, "CreateQueue", QueueName="dead")
    limit = {"Enabled": True, "MaxReceivesPerSecond": 7}
    sse = {"EnableSSE": True, "SseType": "KMS", "SseAlgorithm": "AES-256-GCM", "KmsKeyId": "key"}
    created = call(
        client,
        "CreateQueue",
        QueueName="work",
        QueueType="fifo",
        EnableLogging=True,
        DlqPolicy=DEAD,
        TenantRateLimitPolicy=limit,
        Tag=[{"Key": "team", "Value": "video"}, {"Key": "stage"}],
        **sse,
        **numbers,
    )
    data = call(client, "GetQueueAttributes", QueueName="work")

    assert created == {"Code": 200, "Message": "operation success", "Success": True}
    assert data == {
        "QueueName": "work",
        "QueueType": "fifo",
        "CreateTime": data["CreateTime"],
        "LastModifyTime": data["CreateTime"],
        "LoggingEnabled": True,
        "ActiveMessages": 0,
        "InactiveMessages": 0,
        "DelayMessages": 0,
        "EncryptionEnabled": True,
        "Tags": [{"TagKey": "team", "TagValue": "video"}, {"TagKey": "stage", "TagValue": ""}],
        "DlqPolicy": {**DEAD, "MaxReceiveCount": "3"},
        "TenantRateLimitPolicy": limit,
        **sse,
        **numbers,
    }
    assert elements(bare.request("GET", "/queues/work"))["VisibilityTimeout"] == "45"


def test_changes_of_a_queue_leave_what_they_do_not_name(client: Any) -> None:
    call(client, "CreateQueue", QueueName="dead")
    call(client, "CreateQueue", QueueName="work", VisibilityTimeout=45, DlqPolicy=DEAD)
    call(client, "SetQueueAttributes", QueueName="work", DelaySeconds=9, EnableLogging=True)
    changed = call(client, "GetQueueAttributes", QueueName="work")
    call(client, "SetQueueAttributes", QueueName="work", DlqPolicy={"Enabled": False})
    without = call(client, "GetQueueAttributes", QueueName="work")

    assert (changed["DelaySeconds"], changed["VisibilityTimeout"], changed["LoggingEnabled"]) == (9, 45, True)
    assert (changed["DlqPolicy"]["Enabled"], without["DlqPolicy"]["Enabled"]) == (True, False)


def test_queues_are_listed_in_pages_and_by_name_type_and_tag(client: Any) -> None:
    for number in range(12):
        tags = [{"Key": "even", "Value": str(number % 2 == 0)}]
        kind = "fifo" if number == 7 else "normal"
        call(client, "CreateQueue", QueueName=f"many-{number:02}", QueueType=kind, Tag=tags)

    def names(**parameters: Any) -> list[str]:
        page = call(client, "ListQueue", **parameters)
        return [queue["QueueName"][-2:] for queue in page["PageData"]]

    second = call(client, "ListQueue", PageNum=2, PageSize=1)
    assert {key: second[key] for key in ("PageNum", "PageSize", "Pages", "Size", "Total")} == {
        "PageNum": 2,
        "PageSize": 10,
        "Pages": 2,
        "Size": 2,
        "Total": 12,
    }
    assert [queue["QueueName"] for queue in second["PageData"]] == ["many-10", "many-11"]
    assert names(QueueName="-1") == ["10", "11"]
    assert names(QueueType="fifo") == ["07"]
    assert names(Tag=[{"Key": "even", "Value": "True"}], QueueName="0") == [
        "00",
        "02",
        "04",
        "06",
        "08",
        "10",
    ]
    assert len(names(Tag=[{"Key": "even"}], PageSize=50)) == 12
    assert names(Tag=[{"Key": "odd"}]) == []


def test_deleted_queue_is_gone_for_both_protocols(client: Any, bare: BareMns) -> None:
    call(client, "DeleteQueue", QueueName="q")

    assert bare.receive("q").status_code == 404
    with refused("QueueNotExist"):
        call(client, "GetQueueAttributes", QueueName="q")


@each_case(
    ("parameters", "code"),
    [
        pytest.param({"QueueName": ""}, "MissingParameter", id="no-name"),
        pytest.param({"QueueName": "no_name"}, "InvalidQueueName", id="name"),
        pytest.param({"VisibilityTimeout": 0}, "InvalidArgument", id="number"),
        pytest.param({"QueueType": "stack"}, "InvalidParameter.NotSupported", id="type"),
        pytest.param({"DelaySeconds": 7}, "QueueAlreadyExist", id="exists-with-another-delay"),
        pytest.param({"QueueType": "fifo"}, "QueueAlreadyExist", id="exists-with-another-type"),
        pytest.param({"DlqPolicy": DEAD}, "QueueNotExist", id="target-that-does-not-exist"),
        pytest.param(
            {"DlqPolicy": {**DEAD, "DeadLetterTargetQueue": "q"}},
            "InvalidArgument",
            id="its-own-dead-letters",
        ),
        pytest.param(
            {"DlqPolicy": {**DEAD, "MaxReceiveCount": 1001}}, "InvalidArgument", id="too-many-receives"
        ),
        pytest.param({"DlqPolicy": {"Enabled": True}}, "MissingParameter", id="policy-without-target"),
    ],
)
def test_wrong_queue_is_refused(client: Any, bare: BareMns, parameters: dict[str, Any], code: str) -> None:
    with refused(code):
        call(client, "CreateQueue", **{"QueueName": "q", **parameters})


def test_same_queue_may_be_created_over_either_protocol(client: Any, bare: BareMns) -> None:
    call(client, "CreateQueue", QueueName="q")
    call(client, "CreateQueue", QueueName="ordered", QueueType="fifo")

    assert bare.request("PUT", "/queues/ordered").status_code == 204


def test_message_that_was_received_too_often_is_in_the_queue_that_the_policy_names(
    server: RunningEmulator, client: Any, bare: BareMns
) -> None:
    policy = {"Enabled": True, "DeadLetterTargetQueue": "dead", "MaxReceiveCount": 1}
    call(client, "CreateQueue", QueueName="dead")
    call(client, "CreateQueue", QueueName="work", DlqPolicy=policy)
    sent = elements(bare.send("work", "x"))
    bare.receive("work")
    server.call(lambda emulator: emulator.mns.queues["work"].expire_handles())

    letter = elements(bare.receive("dead"))
    assert (letter["MessageId"], letter["DequeueCount"]) == (sent["MessageId"], "2")
    assert bare.receive("work").status_code == 404


def test_groups_of_a_fifo_queue_are_received_in_order(client: Any, bare: BareMns) -> None:
    call(client, "CreateQueue", QueueName="ordered", QueueType="fifo")
    for text in ("a1", "b1", "a2"):
        bare.send("ordered", text, MessageGroupId=text[0])
    first = [message["MessageBody"] for message in records(bare.receive("ordered", "?numOfMessages=2"))]

    assert first == ["a1", "a2"]
    assert elements(bare.receive("ordered"))["MessageBody"] == "b1"
    assert bare.receive("ordered").status_code == 404


def test_topic_is_created_changed_listed_and_deleted(client: Any, bare: BareMns) -> None:
    tags = [{"Key": "team", "Value": "video"}]
    call(client, "CreateTopic", TopicName="news", MaxMessageSize=2048, TopicType="fifo", Tag=tags)
    call(client, "SetTopicAttributes", TopicName="news", EnableLogging=True, EnableSSE=True, SseType="SMQ")
    data = call(client, "GetTopicAttributes", TopicName="news")
    listed = call(client, "ListTopic", TopicName="ew", TopicType="fifo", Tag=tags)
    call(client, "DeleteTopic", TopicName="news")

    assert (data["MaxMessageSize"], data["LoggingEnabled"], data["EnableSSE"]) == (2048, True, True)
    assert (data["TopicType"], data["SseType"]) == ("fifo", "SMQ")
    assert data["TopicUrl"].endswith("/topics/news")
    assert (listed["Total"], listed["PageData"]) == (1, [data])
    assert call(client, "ListTopic")["PageData"] == []
    assert bare.request("GET", "/topics/news").status_code == 404
    with refused("TopicNotExist"):
        call(client, "GetTopicAttributes", TopicName="news")


def test_topic_that_exists_with_other_attributes_is_refused(client: Any) -> None:
    call(client, "CreateTopic", TopicName="news")
    call(client, "CreateTopic", TopicName="news")

    for other in ({"MaxMessageSize": 2048}, {"TopicType": "fifo"}):
        with refused("TopicAlreadyExist"):
            call(client, "CreateTopic", TopicName="news", **other)


def test_fifo_topic_takes_no_message_without_a_group(client: Any, bare: BareMns) -> None:
    call(client, "CreateTopic", TopicName="news", TopicType="fifo")
    message = "<Message><MessageBody>x</MessageBody>{}</Message>"
    without = bare.request("POST", "/topics/news/messages", message.format(""))
    within = message.format("<MessageGroupId>a</MessageGroupId>")

    assert elements(without)["Code"] == "FifoMissingMessageGroupId"
    assert bare.request("POST", "/topics/news/messages", within).status_code == 201


def test_groups_of_a_fifo_topic_are_those_of_its_fifo_queue(client: Any, bare: BareMns) -> None:
    call(client, "CreateQueue", QueueName="ordered", QueueType="fifo")
    call(client, "CreateTopic", TopicName="news", TopicType="fifo")
    call(
        client,
        "Subscribe",
        TopicName="news",
        SubscriptionName="mine",
        PushType="queue",
        Endpoint=QUEUE_ENDPOINT.replace("/q", "/ordered"),
        NotifyContentFormat="SIMPLIFIED",
    )
    for text in ("a1", "a2", "b1"):
        message = f"<MessageBody>{text}</MessageBody><MessageGroupId>{text[0]}</MessageGroupId>"
        bare.request("POST", "/topics/news/messages", f"<Message>{message}</Message>")

    assert [elements(bare.receive("ordered"))["MessageBody"] for _ in range(2)] == ["a1", "b1"]
    assert bare.receive("ordered").status_code == 404


def test_subscription_pushes_what_is_published_and_can_be_changed(client: Any, bare: BareMns) -> None:
    limit = {"Enabled": True, "MaxReceivesPerSecond": 5}
    named = {"TopicName": "news", "SubscriptionName": "mine"}
    call(client, "CreateTopic", TopicName="news")
    call(client, "CreateQueue", QueueName="dead")
    address = call(
        client,
        "Subscribe",
        **named,
        PushType="queue",
        Endpoint=QUEUE_ENDPOINT,
        NotifyContentFormat="SIMPLIFIED",
        MessageTag="urgent",
    )
    publish = "<Message><MessageBody>hello</MessageBody><MessageTag>urgent</MessageTag></Message>"
    assert bare.request("POST", "/topics/news/messages", publish).status_code == 201
    call(
        client,
        "SetSubscriptionAttributes",
        **named,
        NotifyStrategy="EXPONENTIAL_DECAY_RETRY",
        DlqPolicy={"Enabled": True, "DeadLetterTargetQueue": "dead"},
        TenantRateLimitPolicy=limit,
    )
    data = call(client, "GetSubscriptionAttributes", **named)
    listed = call(client, "ListSubscriptionByTopic", TopicName="news", EndpointType="queue")
    call(client, "Unsubscribe", **named)

    assert address.endswith("/topics/news/subscriptions/mine")
    assert elements(bare.receive("q"))["MessageBody"] == "hello"
    assert data == {
        **named,
        "TopicOwner": "1234567890",
        "Endpoint": QUEUE_ENDPOINT,
        "FilterTag": "urgent",
        "NotifyStrategy": "EXPONENTIAL_DECAY_RETRY",
        "NotifyContentFormat": "SIMPLIFIED",
        "CreateTime": data["CreateTime"],
        "LastModifyTime": data["LastModifyTime"],
        "DlqPolicy": {"Enabled": True, "DeadLetterTargetQueue": "dead"},
        "TenantRateLimitPolicy": limit,
    }
    assert listed["PageData"] == [{key: data[key] for key in data if key != "TenantRateLimitPolicy"}]
    assert call(client, "ListSubscriptionByTopic", TopicName="news")["Total"] == 0


def test_push_that_is_given_up_is_in_the_dead_letter_queue_of_its_subscription(
    server: RunningEmulator, client: Any, bare: BareMns
) -> None:
    call(client, "CreateTopic", TopicName="news")
    call(
        client,
        "Subscribe",
        TopicName="news",
        SubscriptionName="mine",
        PushType="queue",
        Endpoint=QUEUE_ENDPOINT.replace("/q", "/not-there"),
        NotifyContentFormat="SIMPLIFIED",
        DlqPolicy={"Enabled": True, "DeadLetterTargetQueue": "q"},
    )
    bare.request("POST", "/topics/news/messages", "<Message><MessageBody>hello</MessageBody></Message>")

    assert bare.receive("q").status_code == 404
    bare.http.post("/_emulator/clock", json={"advance": "1m"})
    assert elements(bare.receive("q"))["MessageBody"] == "hello"


@each_case(
    ("parameters", "code"),
    [
        pytest.param({"PushType": "http"}, "EndpointInvalid", id="other-push-type"),
        pytest.param({"PushType": "dm"}, "EndpointInvalid", id="push-type-not-emulated"),
        pytest.param({"PushType": "owl"}, "InvalidParameter.NotSupported", id="no-push-type"),
        pytest.param({"Endpoint": "http://example.com/"}, "EndpointInvalid", id="another-machine"),
        pytest.param({"NotifyStrategy": "NEVER"}, "InvalidParameter.NotSupported", id="strategy"),
        pytest.param({"TopicName": "olds"}, "TopicNotExist", id="topic"),
        pytest.param(
            {"DlqPolicy": {"DeadLetterTargetQueue": "none"}}, "QueueNotExist", id="target-that-does-not-exist"
        ),
        pytest.param(
            {"DlqPolicy": {"DeadLetterTargetQueue": "q"}},
            "InvalidArgument",
            id="its-own-queue-for-dead-letters",
        ),
    ],
)
def test_wrong_subscription_is_refused(
    client: Any, bare: BareMns, parameters: dict[str, Any], code: str
) -> None:
    call(client, "CreateTopic", TopicName="news")
    given = {"TopicName": "news", "SubscriptionName": "s", "PushType": "queue", "Endpoint": QUEUE_ENDPOINT}

    with refused(code):
        call(client, "Subscribe", **given | parameters)


def test_endpoint_can_be_switched_and_admit_other_addresses(client: Any) -> None:
    public = {"EndpointType": "public"}
    allow = {**public, "AclStrategy": "allow"}
    before = call(client, "GetEndpointAttribute", **public)
    call(client, "DisableEndpoint", **public)
    call(client, "RevokeEndpointAcl", **allow, CidrList=["0.0.0.0/0"])
    call(client, "AuthorizeEndpointAcl", **allow, CidrList=["192.0.2.0/24", "198.51.100.7"])
    after = call(client, "GetEndpointAttribute", **public)
    call(client, "EnableEndpoint", **public)

    assert (before["EndpointEnabled"], after["EndpointEnabled"]) == (True, False)
    assert [(block["AclStrategy"], block["Cidr"]) for block in after["CidrList"]] == [
        ("allow", "192.0.2.0/24"),
        ("allow", "198.51.100.7"),
    ]
    assert call(client, "GetEndpointAttribute", **public)["EndpointEnabled"] is True
    with refused("InvalidArgument"):
        call(client, "AuthorizeEndpointAcl", **allow, CidrList=["everyone"])
    with refused("InvalidParameter.NotSupported"):
        call(client, "EnableEndpoint", EndpointType="vpc")


def test_account_keeps_its_attributes(client: Any) -> None:
    before = call(client, "GetAccountAttributes")
    call(client, "SetAccountAttributes", LogEnabled=True, LogStoreName="store", ProjectName="project")
    call(client, "SetAccountAttributes", MessageTraceEnabled=True)
    after = call(client, "GetAccountAttributes")

    assert before["LogEnabled"] is False
    assert after == {
        "LogEnabled": True,
        "LogStoreName": "store",
        "MessageTraceEnabled": True,
        "ProjectName": "project",
    }


def test_event_rules_are_stored_found_and_deleted(client: Any) -> None:
    created = call(client, "CreateEventRule", **RULE)
    other = {**RULE, "RuleName": "others", "Endpoint": {"EndpointType": "queue", "EndpointValue": "q"}}
    call(client, "CreateEventRule", **other)
    data = call(client, "GetEventRule", ProductName="oss", RuleName="uploads")

    def names(**parameters: Any) -> list[str]:
        return [rule["RuleName"] for rule in call(client, "ListEventRules", **parameters)["PageData"]]

    assert created == "uploads"
    assert (data["EventTypes"], data["Endpoint"]) == (RULE["EventTypes"], RULE["Endpoint"])
    assert [[condition.get("Name") for condition in rule] for rule in data["MatchRules"]] == [
        ["bucket-7", None]
    ]
    assert names(ProductName="oss", ResourceName="bucket-7") == ["others", "uploads"]
    assert names(TopicName="news") == ["uploads"]
    assert names(Subscription=other["Endpoint"]) == ["others"]
    with refused("EventRuleAlreadyExist"):
        call(client, "CreateEventRule", **RULE | {"EventTypes": ["ObjectRemoved:DeleteObject"]})
    call(client, "DeleteEventRule", ProductName="oss", RuleName="uploads")
    with refused("EventRuleNotExist"):
        call(client, "GetEventRule", ProductName="oss", RuleName="uploads")


def test_replies_come_in_xml_too(client: Any, rpc: BareRpc) -> None:
    call(client, "CreateQueue", QueueName="work", Tag=[{"Key": "a"}, {"Key": "b"}])
    found = ElementTree.fromstring(rpc.call("GetQueueAttributes", Format="XML", QueueName="work").content)
    missing = rpc.call_acs3("GetQueueAttributes", accept="application/xml", QueueName="none")

    assert (found.tag, found.findtext("Code")) == ("GetQueueAttributesResponse", "200")
    assert found.findtext("Data/EnableSSE") == "false"
    assert [tag.findtext("TagKey") for tag in found.findall("Data/Tags")] == ["a", "b"]
    assert missing.status_code == 404
    assert ElementTree.fromstring(missing.content).findtext("Code") == "QueueNotExist"


def test_call_that_is_not_signed_is_refused(rpc: BareRpc) -> None:
    reply = rpc.call("ListQueue", Signature="forged")

    assert (reply.status_code, reply.json()["Code"]) == (400, "SignatureDoesNotMatch")


def test_faults_reach_its_calls(server: RunningEmulator, rpc: BareRpc) -> None:
    fault = Fault(kind=FaultKind.THROTTLE, service="mns", operation="ListQueue")
    server.call(lambda emulator: emulator.faults.add([fault]))
    reply = rpc.call("ListQueue")

    assert (reply.status_code, reply.json()["Code"]) == (429, "TooManyRequests")


def test_reset_forgets_what_only_this_api_knows(server: RunningEmulator, client: Any) -> None:
    call(client, "SetAccountAttributes", LogEnabled=True)
    call(client, "DisableEndpoint", EndpointType="public")
    call(client, "CreateEventRule", **RULE)
    server.call(Emulator.reset)

    assert call(client, "GetAccountAttributes")["LogEnabled"] is False
    assert call(client, "GetEndpointAttribute", EndpointType="public")["EndpointEnabled"] is True
    assert call(client, "ListEventRules")["Total"] == 0
