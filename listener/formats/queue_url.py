"""The URL of an MNS queue, as in a job's NotifyUrl."""

from __future__ import annotations

from urllib.parse import urlsplit


def split_queue_url(url: str) -> tuple[str, str]:
    """Endpoint and queue name of an ``mns://`` URL. Raises ValueError.

    One page of the documentation has ``oss-<region>`` instead of ``mns.<region>`` in the host; this is corrected.
    """
    parts = urlsplit(url)
    host, path = parts.netloc, parts.path.strip("/").split("/")
    if parts.scheme not in ("mns", "http", "https") or not host or len(path) != 2 or path[0] != "queues":
        raise ValueError(
            f"{url!r} is not a valid queue URL; expected mns://ACCOUNT.mns.REGION.aliyuncs.com/queues/NAME"
        )
    host = host.replace(".oss-", ".mns.", 1) if host.endswith(".aliyuncs.com") else host
    scheme = parts.scheme if parts.scheme != "mns" else "https"
    return f"{scheme}://{host}", path[1]
