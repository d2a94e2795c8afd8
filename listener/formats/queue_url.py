"""The URL of an MNS queue, as in a job's NotifyUrl."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from listener.formats.service_hosts import mns_host

FORM: Final = "mns://ACCOUNT.mns.REGION.aliyuncs.com/queues/NAME"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,119}")


def split_queue_url(url: str) -> tuple[str, str]:
    """Endpoint and queue name of an ``mns://`` URL. Raises ValueError.

    One page of the documentation has ``oss-<region>`` instead of ``mns.<region>`` in the host; this is corrected.
    """
    parts = urlsplit(url)
    host, path = parts.netloc, parts.path.strip("/").split("/")
    if parts.scheme not in ("mns", "http", "https") or not host or len(path) != 2 or path[0] != "queues":
        raise ValueError(f"{url!r} is not a valid queue URL; expected {FORM}")
    host = host.replace(".oss-", ".mns.", 1) if host.endswith(".aliyuncs.com") else host
    scheme = parts.scheme if parts.scheme != "mns" else "https"
    return f"{scheme}://{host}", path[1]


@lru_cache(maxsize=16)  # jobs name few queues, each thousands of times
def as_notify_url(url: str) -> str:
    """The URL in the only form that MPS accepts as NotifyUrl. Raises ValueError if it names no MNS queue.

    Corrected are an ``oss-<region>`` host, ``https`` and the host of an internal or VPC endpoint.
    """
    endpoint, name = split_queue_url(url)
    if not (host := mns_host(endpoint)):
        given = endpoint.partition("://")[2]
        raise ValueError(f"{url!r} has the host {given!r}, which is not one of MNS; expected {FORM}")
    if not _NAME.fullmatch(name) or "?" in url or "#" in url:
        raise ValueError(
            f"{url!r} does not end in the name of a queue, up to 120 letters, digits and hyphens; expected {FORM}"
        )
    return f"mns://{host.public}/queues/{name}"
