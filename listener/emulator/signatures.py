"""The signatures that the services check, and the text of the one that they make, as pure functions."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote


def mns_v2(secret: str, *, method: str, headers: Mapping[str, str], target: str, date: str) -> str:
    """The signature of an MNS request; ``target`` is path and query just as they stand in the request line.

    Source: the page "sign-requests" of the MNS manual. A missing header counts as an empty line; the security token
    is not signed.
    """
    return _hmac_sha1(secret, mns_text(method=method, headers=headers, target=target, date=date))


def mns_text(*, method: str, headers: Mapping[str, str], target: str, date: str) -> str:
    """What is signed of a request to MNS, and of a push of MNS to an HTTP endpoint. Header names are lower case.

    The page on pushes ("sign-a-request-that-is-sent-to-an-endpoint") omits the content type in its formula; its sample
    and captures have it.
    """
    lines = [method, headers.get("content-md5", ""), headers.get("content-type", ""), date]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-mns-")]
    return "\n".join([*lines, target])


def mns_v4(secret: str, canonical: str, *, time: str, region: str) -> str:
    """The signature MNS4-HMAC-SHA256 of a canonical request; ``time`` as in 20250603T105235Z.

    Source: the official gateway package for MNS and its tests; the manual does not have it.
    """
    scope = (time[:8], region, "mns", "aliyun_v4_request")
    key = f"aliyun_v4{secret}".encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["MNS4-HMAC-SHA256", time, "/".join(scope), canonical])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def mns_v4_request(*, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The canonical request; ``path`` is decoded, and names of the query and of headers are in lower case."""
    items = sorted((encode(name.strip()), encode(value.strip())) for name, value in query.items())
    resource = "&".join(f"{name}={value}" if value else name for name, value in items)
    signed = sorted(
        name for name in headers if name in {"content-type", "content-md5"} or name.startswith("x-mns-")
    )
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed)
    return f"{method}\n{quote(path, safe='/~')}\n{resource}\n{lines}\n"


def rpc_v1(secret: str, *, method: str, parameters: Mapping[str, str]) -> str:
    """The signature of an RPC request of MPS; ``parameters`` come from query and form, without ``Signature``."""
    return _hmac_sha1(f"{secret}&", rpc_v1_text(method=method, parameters=parameters))


def rpc_v1_text(*, method: str, parameters: Mapping[str, str]) -> str:
    """The text that an RPC signature signs."""
    return f"{method}&%2F&{encode(canonical_query(parameters))}"


def acs3(secret: str, canonical: str) -> str:
    """The ACS3-HMAC-SHA256 signature of a canonical request."""
    return hmac.new(secret.encode(), acs3_text(canonical).encode(), hashlib.sha256).hexdigest()


def acs3_text(canonical: str) -> str:
    """The text that an ACS3 signature signs."""
    return f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def acs3_request(
    *,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    signed: str,
) -> str:
    """The canonical request; ``signed`` is the list of signed headers as the client sent it."""
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in signed.split(";"))
    payload = headers.get("x-acs-content-sha256", "")
    return "\n".join([method, path, canonical_query(query), lines, signed, payload])


def canonical_query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{encode(name)}={encode(parameters[name])}" for name in sorted(parameters))


def encode(text: str) -> str:
    """Percent-encode as RFC 3986 has it: only letters, digits and ``-_.~`` stay."""
    return quote(text, safe="~")


def _hmac_sha1(secret: str, text: str) -> str:
    # latin-1 is what HTTP headers and request lines arrive in; it gives back the bytes that the client signed.
    digest = _keyed(secret).copy()
    digest.update(text.encode("latin-1", "replace"))
    return base64.b64encode(digest.digest()).decode()


@lru_cache(maxsize=4)
def _keyed(secret: str) -> hmac.HMAC:
    """To be copied, which takes less than to begin anew."""
    return hmac.new(secret.encode(), digestmod=hashlib.sha1)
