"""The files of a job: object keys, OSS addresses, and the form in which replies of MPS name them."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from listener.core.outputs import OutputFile
from listener.formats.json_members import Members, as_text
from listener.formats.unicode_text import storable

_ADDRESS: Final = re.compile(r"(oss|https?)://([^./\s]++)([^/\s]*+)/([^?#]*+)(.*)", re.DOTALL)
#: Hosts whose first label is a bucket.
_OSS_HOST: Final = re.compile(r"\.oss[a-z0-9-]*\.aliyuncs\.com", re.IGNORECASE)


def located(path: str, *, output: str) -> OutputFile:
    """A path of a result as a file: a key in the bucket of ``output``, or a complete URL, which is used as is."""
    whole = _ADDRESS.fullmatch(path)
    if whole:
        return OutputFile(path=whole[4], bucket=whole[2], url=path)
    home = _ADDRESS.fullmatch(output)
    if not home or home[1] != "oss":
        return OutputFile(path=path)
    return OutputFile(path=path, bucket=home[2], url=_address(home[2], home[3], path))


def at_url(url: str) -> OutputFile:
    """The file that a URL of OSS leads to. A URL of another host, such as a CDN's, is used as is."""
    found = _ADDRESS.fullmatch(url)
    if not found or found[1] == "oss" or not _OSS_HOST.fullmatch(found[3]):
        return located(url, output="")
    key = decoded_key(found[4])
    return OutputFile(path=key, bucket=found[2], url=_address(found[2], found[3], key))


def in_bucket(bucket: str, location: str, key: str) -> OutputFile:
    """A file by the members of the vendor's OSS files; its location is a name such as ``oss-cn-hangzhou``."""
    url = _address(bucket, f".{location}.aliyuncs.com", key) if bucket and location else ""
    return OutputFile(path=key, bucket=bucket, url=url)


def oss_file(value: Any) -> OutputFile | None:
    """The file that an object with ``Bucket``, ``Location`` and ``Object`` names; None if it names none.

    ``Object`` is percent-encoded in requests; that replies repeat it so is inferred from their samples.
    """
    members = Members(value)
    bucket, location, key = (as_text(members.get(name)) for name in ("Bucket", "Location", "Object"))
    return in_bucket(bucket, location, decoded_key(key)) if key else None


def decoded_key(key: str) -> str:
    """A percent-encoded key as it is in the bucket; unchanged if it is not UTF-8."""
    try:
        return storable(unquote(key, errors="strict"))
    except UnicodeDecodeError:
        return key


def _address(bucket: str, domain: str, key: str) -> str:
    return f"oss://{bucket}{domain}/{key.lstrip('/')}"
