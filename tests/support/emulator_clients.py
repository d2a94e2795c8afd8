"""Clients for the emulator's tests: a bare signed one for looking at the wire, and makers of the official SDKs'."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree

import httpx

from listener.core import clock
from listener.emulator import DEFAULT_PIPELINE_ID, signatures

KEY, SECRET = "testKeyId", "testKeySecret"
NOTIFY = "mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/q"
BUCKET = "oss://example-bucket.oss-cn-shanghai.aliyuncs.com"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
NAMESPACE = "{http://mns.aliyuncs.com/doc/v1}"


class BareMns:
    """Sends signed MNS requests and shows the reply as it came."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, verify=False, timeout=30)

    def request(
        self, method: str, target: str, body: str | bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """``headers`` are added before signing; one whose value is empty is left out."""
        content = body.encode() if isinstance(body, str) else body
        fields = signed_headers(method, target, content, headers)
        # As bytes, since httpx would spell the receipt handles of a textual address anew.
        url = self.http.base_url.copy_with(raw_path=target.encode())
        return self.http.request(method, url, content=content, headers=fields)

    def send(self, queue: str, text: str, **elements: object) -> httpx.Response:
        extra = "".join(f"<{name}>{value}</{name}>" for name, value in elements.items())
        body = f"<Message><MessageBody>{text}</MessageBody>{extra}</Message>"
        return self.request("POST", f"/queues/{queue}/messages", body)

    def receive(self, queue: str, query: str = "") -> httpx.Response:
        return self.request("GET", f"/queues/{queue}/messages{query}")


def signed_headers(
    method: str, target: str, content: bytes = b"", headers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers of a request to MNS; of those that are given, one whose value is empty is left out."""
    fields = {
        "date": format_datetime(clock.now(), usegmt=True),
        "x-mns-version": "2015-06-06",
        "content-type": "text/xml;charset=UTF-8" if content else "",
        **{name.lower(): value for name, value in (headers or {}).items()},
    }
    fields = {name: value for name, value in fields.items() if value}
    if "authorization" not in fields:
        date = fields.get("x-mns-date") or fields.get("date", "")
        signature = signatures.mns_v2(SECRET, method=method, headers=fields, target=target, date=date)
        fields["authorization"] = f"MNS {KEY}:{signature}"
    return fields


class BareRpc:
    """Sends signed RPC calls of one API, in whatever form the test wants."""

    def __init__(self, url: str, *, version: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, verify=False, timeout=30)
        self._version = version

    def call(
        self, action: str, *, method: str = "GET", form: bool = False, **parameters: str
    ) -> httpx.Response:
        """Call with signature V1. Parameters override the common ones; one whose value is empty is left out."""
        fields = {
            "Action": action,
            "Version": self._version,
            "Format": "JSON",
            "AccessKeyId": KEY,
            "SignatureMethod": "HMAC-SHA1",
            "SignatureVersion": "1.0",
            "SignatureNonce": uuid.uuid4().hex,
            "Timestamp": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}",
            **parameters,
        }
        fields = {name: value for name, value in fields.items() if value}
        fields.setdefault("Signature", signatures.rpc_v1(SECRET, method=method, parameters=fields))
        if form:
            return self.http.request(method, "/", data=fields)
        return self.http.request(method, f"/?{signatures.canonical_query(fields)}")

    def call_acs3(
        self, action: str, *, accept: str = "application/json", digest: str = EMPTY_SHA256, **parameters: str
    ) -> httpx.Response:
        """Call with the signature ACS3-HMAC-SHA256."""
        headers = {
            "host": self.http.base_url.netloc.decode(),
            "x-acs-action": action,
            "x-acs-version": self._version,
            "x-acs-date": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}",
            "x-acs-signature-nonce": uuid.uuid4().hex,
            "x-acs-content-sha256": digest,
        }
        signed = ";".join(sorted(headers))
        canonical = signatures.acs3_request(
            method="POST", path="/", query=parameters, headers=headers, signed=signed
        )
        signature = signatures.acs3(SECRET, canonical)
        headers["authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders={signed},Signature={signature}"
        )
        headers["accept"] = accept
        return self.http.post(f"/?{signatures.canonical_query(parameters)}", headers=headers)


class BareMps(BareRpc):
    """Sends calls of MPS."""

    def __init__(self, url: str) -> None:
        super().__init__(url, version="2014-06-18")


@contextmanager
def mns_account(url: str) -> Iterator[Any]:
    """An account of the official MNS SDK, its one connection closed at the end."""
    from mns.account import Account

    account = Account(url, KEY, SECRET)
    try:
        yield account
    finally:
        account.get_client().close_connection()


def mps_client(port: int, algorithm: str | None = None) -> Any:
    """The official MPS SDK's client; ``algorithm`` None is its default (ACS3), ``v2`` the older RPC signature."""
    from alibabacloud_mts20140618.client import Client

    return Client(_client_config(port, algorithm))


def mns_open_client(port: int, algorithm: str | None = None) -> Any:
    """The official client of the OpenAPI of MNS; ``algorithm`` as for MPS."""
    from alibabacloud_mns_open20220119.client import Client

    return Client(_client_config(port, algorithm))


def _client_config(port: int, algorithm: str | None) -> Any:
    from alibabacloud_tea_openapi.models import Config

    return Config(
        access_key_id=KEY,
        access_key_secret=SECRET,
        endpoint=f"127.0.0.1:{port}",
        protocol="http",
        region_id="cn-shanghai",
        signature_algorithm=algorithm,
    )


def elements(response: httpx.Response) -> dict[str, str]:
    """The children of a reply's root, by local name."""
    return fields_of(ElementTree.fromstring(response.content))


def records(response: httpx.Response) -> list[dict[str, str]]:
    """The children of each child of a reply's root."""
    return [fields_of(child) for child in ElementTree.fromstring(response.content)]


def fields_of(element: ElementTree.Element) -> dict[str, str]:
    return {child.tag.removeprefix(NAMESPACE): child.text or "" for child in element}


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def submit(mps: BareMps, function: str = "VideoH2V", **parameters: str) -> httpx.Response:
    given = {
        "FunctionName": function,
        "PipelineId": DEFAULT_PIPELINE_ID,
        "NotifyUrl": NOTIFY,
        "JobParams": "{}",
        "Input": f"{BUCKET}/in/film.mp4",
        "Output": f"{BUCKET}/out/{{source}}-{{sequenceId}}.mp4",
        **parameters,
    }
    return mps.call("SubmitIProductionJob", **given)


def next_callback(bare: BareMns, queue: str = "q") -> dict[str, Any]:
    """Receive and delete one callback from the queue."""
    message = elements(bare.receive(queue, "?waitseconds=20"))
    bare.request("DELETE", f"/queues/{queue}/messages?ReceiptHandle={message['ReceiptHandle']}")
    callback: dict[str, Any] = json.loads(base64.b64decode(message["MessageBody"], validate=True))
    return callback


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["Code"]
