"""Pushes a publication to an HTTP endpoint: one signed POST.

Headers and digests are as the page "httpendpoint" and captures show them: SIMPLIFIED carries in headers what the other
formats have in the body, and its Content-MD5 is upper-case hex, theirs base64 of lower-case hex. The content type of
JSON is inferred.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from weakref import WeakValueDictionary

import httpx

from listener.core import clock
from listener.emulator.mns.endpoints import CERTIFICATE_PATH
from listener.emulator.mns.push_signer import PushSigner
from listener.emulator.mns.topics import ACCOUNT_ID, ContentFormat, Publication, Subscription
from listener.emulator.signatures import mns_text

#: How long an endpoint may take to answer.
TIMEOUT_SECONDS = 5.0
#: Each push opens a connection; the emulator needs its file descriptors for clients, too.
AT_A_TIME = 64
AT_A_TIME_TO_ONE = 8
#: Endpoints are http:// only, so no certificate authorities are read from the disk for each push.
_NO_TLS = False
CONTENT_TYPES = {
    ContentFormat.XML: "text/xml;charset=utf-8",
    ContentFormat.JSON: "application/json;charset=utf-8",
    ContentFormat.SIMPLIFIED: "text/plain;charset=utf-8",
}


class HttpPusher:
    """Sends signed pushes, a limited number at a time.

    ``base_url`` is the emulator's own address, where its certificate is.
    """

    def __init__(self, *, base_url: str, new_id: Callable[[], str], at_a_time: int = AT_A_TIME) -> None:
        self._turns = asyncio.Semaphore(at_a_time)
        #: Of each endpoint that is being pushed to, so that one that does not answer holds up no other.
        self._turns_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._signer = PushSigner()
        self._base_url = base_url
        self._new_id = new_id

    async def certificate(self) -> bytes:
        """That of the key that signs the pushes, as PEM."""
        return await asyncio.to_thread(self._signer.certificate)

    async def push(
        self, url: str, text: str, *, publication: Publication, subscription: Subscription
    ) -> bool:
        """Whether the endpoint has accepted the text, that is, has answered with a 2xx in time."""
        turns = self._turns_of.setdefault(url, asyncio.Semaphore(AT_A_TIME_TO_ONE))
        async with turns, self._turns:
            if subscription.ended:
                return False
            return await self._push(url, text, publication=publication, subscription=subscription)

    async def _push(
        self, url: str, text: str, *, publication: Publication, subscription: Subscription
    ) -> bool:
        body = text.encode("utf-8", "surrogateescape")
        headers = self._headers(body, publication=publication, subscription=subscription)
        try:
            target = httpx.URL(url).raw_path.decode("ascii")  # as it will be sent
            signed = mns_text(method="POST", headers=headers, target=target, date=headers["date"])
            headers["authorization"] = await asyncio.to_thread(self._signer.sign, signed)
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                httpx.AsyncClient(trust_env=False, verify=_NO_TLS) as client,
                client.stream("POST", url, content=body, headers=_as_bytes(headers)) as reply,
            ):
                return reply.is_success
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return False

    def _headers(
        self, body: bytes, *, publication: Publication, subscription: Subscription
    ) -> dict[str, str]:
        content_format = subscription.attributes.notify_content_format
        certificate = f"{self._base_url}{CERTIFICATE_PATH}"
        simplified = content_format == ContentFormat.SIMPLIFIED
        return {
            "content-type": CONTENT_TYPES[content_format],
            "content-md5": _digest(body, simplified=simplified),
            "date": format_datetime(clock.now(), usegmt=True),
            "user-agent": "Aliyun Notification Service Agent",
            "x-mns-request-id": self._new_id(),
            "x-mns-version": "2015-06-06",
            "x-mns-signing-cert-url": base64.b64encode(certificate.encode()).decode(),
            **(_described(publication, subscription) if simplified else {}),
        }


def _described(publication: Publication, subscription: Subscription) -> Mapping[str, str]:
    return {
        "x-mns-message-id": publication.message_id,
        "x-mns-publish-time": str(publication.published_ms),
        "x-mns-subscriber": ACCOUNT_ID,
        "x-mns-subscription-name": subscription.name,
        "x-mns-topic-name": publication.topic_name,
        "x-mns-topic-owner": ACCOUNT_ID,
        **({"x-mns-message-tag": publication.tag} if publication.tag else {}),
    }


def _digest(body: bytes, *, simplified: bool) -> str:
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return digest.upper() if simplified else base64.b64encode(digest.encode()).decode()


def _as_bytes(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """A tag need not be ASCII."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
