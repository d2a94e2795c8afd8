"""Checks of the names of objects in OSS."""

from __future__ import annotations

import re

from listener.emulator.mps.errors import MpsError

HTTP_URL = re.compile(
    r"https?://(?P<bucket>[^./]*)\.(?P<location>oss-[a-z0-9-]+)\.aliyuncs\.com/(?P<key>[^?#]*)", re.DOTALL
)
OSS_URL = re.compile(r"oss://(?P<bucket>[^./]*)\.oss-[a-z0-9-]+\.aliyuncs\.com/(?P<key>.*)", re.DOTALL)
BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def check_url(name: str, url: str) -> None:
    """Raise MpsError, which names the parameter, unless the text is the URL of an object."""
    parts = OSS_URL.fullmatch(url)
    if parts is None:
        raise MpsError("InvalidParameter.Format", name)
    check_bucket(name, parts["bucket"])
    check_key(name, parts["key"])


def check_bucket(name: str, bucket: str) -> None:
    # The samples in the documentation mask part of the bucket name with asterisks; these are accepted.
    if not BUCKET.fullmatch(bucket.replace("*", "0")):
        raise MpsError("InvalidParameter.BucketNameInvalid", name)


def check_key(name: str, key: str) -> None:
    if not key or len(key.encode("utf-8", "replace")) > 1023:
        raise MpsError("InvalidParameter.ObjectKeyInvalid", name)
