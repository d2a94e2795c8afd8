"""The signature MNS4-HMAC-SHA256: the vectors of the official gateway package, and requests that are signed by it."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from listener.core import clock
from listener.emulator import signatures
from tests.support.cases import each_case
from tests.support.emulator_clients import KEY, SECRET, BareMns, elements


@each_case(
    ("secret", "time", "region", "signed", "expected"),
    [
        pytest.param(
            "sk1",
            "20250603T105235Z",
            "region1",
            {
                "method": "POST",
                "path": "/queues/TestQueue/",
                "query": {
                    "param1": "abc",
                    "param2": "d  ef",
                    "param3": "[def]#bbb",
                    "param4": "\u4e2d\u6587\u53c2\u6570",
                },
                "headers": {},
            },
            "1fc6013f158d4c3aba09570895a2a93c8445c2c5213d82a1463baf602cf0d945",
            id="query",
        ),
        pytest.param(
            "skkkkkk2222222222",
            "20251204T063235Z",
            "eu-west-1",
            {
                "method": "GET",
                "path": "/queues",
                "query": {},
                "headers": {
                    "x-mns-version": "2015-06-30",
                    "x-mns-ttt": "1",
                    "x-mns-uuuuu": "FALse",
                    "bb-mns-uuuuu": "abcdddDDD",
                    "content-type": "application/json",
                    "content-md5": "0d9d2ce750000593eb34f00",
                },
            },
            "294f776a2d5726df679b54b081ab8126a199a2545c8c8a7a875adff0b386e458",
            id="headers",
        ),
        pytest.param(
            "testSk",
            "20250603T105235Z",
            "testRegion",
            {"method": "POST", "path": "/queues/Test Queue@123", "query": {}, "headers": {}},
            "87de7499365a31e767cdc0c726a893c72c860e415876f7f92914197ac3795833",
            id="path",
        ),
    ],
)
def test_vectors_of_the_official_package_are_reproduced(
    secret: str, time: str, region: str, signed: dict[str, Any], expected: str
) -> None:
    canonical = signatures.mns_v4_request(**signed)

    assert signatures.mns_v4(secret, canonical, time=time, region=region) == expected


def send(
    bare: BareMns,
    method: str,
    target: str,
    body: str = "",
    *,
    seconds: int = 0,
    key: str = KEY,
    day: str = "",
) -> httpx.Response:
    """A request signed some seconds after its Date."""
    date = clock.now()
    time = f"{date + timedelta(seconds=seconds):%Y%m%dT%H%M%SZ}"
    headers = {"date": format_datetime(date, usegmt=True), "x-mns-version": "2015-06-06"}
    if body:
        headers["content-type"] = "text/xml"
    parts = urlsplit(target)
    query = {name.lower(): value for name, value in parse_qsl(parts.query)}
    canonical = signatures.mns_v4_request(method=method, path=parts.path, query=query, headers=headers)
    signature = signatures.mns_v4(SECRET, canonical, time=time, region="cn-shanghai")
    scope = f"{key}/{day or time[:8]}/cn-shanghai/mns/aliyun_v4_request"
    headers["authorization"] = f"MNS4-HMAC-SHA256 Credential={scope},Signature={signature}"
    return bare.request(method, target, body, headers)


def test_requests_signed_by_v4_are_carried_out(bare: BareMns) -> None:
    body = "<Message><MessageBody>hello</MessageBody></Message>"

    assert send(bare, "POST", "/queues/q/messages", body).status_code == 201
    received = send(bare, "GET", "/queues/q/messages?numOfMessages=1&waitseconds=0", seconds=1)
    assert received.status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        pytest.param({"seconds": 5}, 403, "SignatureDoesNotMatch", id="another-time"),
        pytest.param({"day": "20200101"}, 403, "SignatureDoesNotMatch", id="another-day"),
        pytest.param({"key": "other"}, 403, "InvalidAccessKeyId", id="another-key"),
        pytest.param({"day": "today"}, 400, "InvalidAuthorizationHeader", id="no-day"),
    ],
)
def test_v4_signature_of_something_else_is_refused(
    bare: BareMns, changes: dict[str, Any], status: int, code: str
) -> None:
    reply = send(bare, "GET", "/queues", **changes)

    assert (reply.status_code, elements(reply)["Code"]) == (status, code)
