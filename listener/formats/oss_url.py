"""The URL of an object in OSS, as in a job's Input and Output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FORM: Final = "oss://BUCKET.oss-REGION.aliyuncs.com/OBJECT"
#: The limit of OSS, in bytes of UTF-8.
MAX_KEY_LENGTH: Final = 1023

# The vendor's samples mask names with asterisks; these pass.
_BUCKET: Final = re.compile(r"[a-z0-9*][a-z0-9*-]{1,61}[a-z0-9*]")
_PLACE: Final = re.compile(r"oss-(?P<region>[^.]*?)(?:-internal)?\.aliyuncs\.com")
_REGION: Final = re.compile(r"[a-z]{2}-[a-z0-9-]*[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OssUrl:
    """One object."""

    bucket: str
    region: str
    key: str  #: any text, also with spaces


def split_oss_url(url: str) -> OssUrl:
    """Bucket, region and object key of an ``oss://`` URL. Raises ValueError, which names the part that is wrong."""
    scheme, found, rest = url.partition("://")
    if scheme != "oss" or not found:
        raise ValueError(f"{url!r} is not a valid OSS URL; expected {FORM}")
    host, _, key = rest.partition("/")
    bucket, _, place = host.partition(".")
    if not (parts := _PLACE.fullmatch(place)):
        raise ValueError(f"{url!r} has the host {host!r}; expected BUCKET.oss-REGION.aliyuncs.com")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{url!r} has the bucket {bucket!r}; a bucket has 3 to 63 lower-case letters, digits and hyphens, "
            "and begins and ends with a letter or digit"
        )
    if not _REGION.fullmatch(parts["region"]):
        raise ValueError(f"{url!r} has the region {parts['region']!r}; expected a region such as cn-shanghai")
    _check_key(url, key)
    return OssUrl(bucket=bucket, region=parts["region"], key=key)


def _check_key(url: str, key: str) -> None:
    if not key:
        raise ValueError(f"{url!r} has no object key after the host; expected {FORM}")
    if key[0] in "/\\":
        raise ValueError(f"{url!r} has the object key {key!r}, which begins with {key[0]!r}; remove it")
    if (length := len(key.encode("utf-8", "surrogatepass"))) > MAX_KEY_LENGTH:
        raise ValueError(f"the object key has {length} bytes; OSS allows at most {MAX_KEY_LENGTH}")
