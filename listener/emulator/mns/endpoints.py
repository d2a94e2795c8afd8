"""The endpoints of subscriptions: queues of the account, and HTTP servers on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from listener.core.loopback import is_loopback
from listener.emulator.mns.errors import MnsError

_QUEUE = re.compile(r"acs:mns:([A-Za-z0-9-]+):([A-Za-z0-9-]+):/?queues/([A-Za-z0-9][A-Za-z0-9-]*)")
#: Where pushes go whose endpoint has no path.
DEFAULT_PATH = "/notifications"
#: Where the emulator has the certificate of the key that signs pushes.
CERTIFICATE_PATH = "/x509_public_certificate.pem"


@dataclass(frozen=True, slots=True)
class QueueEndpoint:
    """A queue by its name. Region and account are not compared: the emulator has one of each."""

    queue: str


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """An HTTP server on this machine."""

    url: str  #: with a path


Endpoint = QueueEndpoint | HttpEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that a subscription names. Raises EndpointInvalid, also for those that the emulator lacks.

    The emulator sends nothing to other machines, hence neither mail nor SMS, and HTTP to the loopback only.
    """
    if found := _QUEUE.fullmatch(text):
        return QueueEndpoint(found[3])
    if text.startswith("http://"):
        return _http(text)
    raise MnsError("EndpointInvalid")


def _http(text: str) -> HttpEndpoint:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise MnsError("EndpointInvalid") from error
    if not text.isascii() or not text.isprintable() or " " in text or "@" in parts.netloc:
        raise MnsError("EndpointInvalid")
    if not is_loopback(host):
        raise MnsError(
            "EndpointInvalid",
            "The endpoint you provided is invalid: the emulator pushes to this machine only.",
        )
    return HttpEndpoint(parts._replace(path=parts.path or DEFAULT_PATH, fragment="").geturl())
