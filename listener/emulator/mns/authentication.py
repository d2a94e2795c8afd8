"""Authenticates requests to MNS: signatures V2 and V4, dates, and digests of bodies."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from listener.emulator import signatures
from listener.emulator.messages import Request
from listener.emulator.mns.errors import MnsError
from listener.emulator.options import Options

VERSION = "2015-06-06"
CLOCK_TOLERANCE = timedelta(minutes=15)
V2 = re.compile(r"MNS (?P<key>[^:]*):(?P<signature>.*)")
V4 = re.compile(
    r"MNS4-HMAC-SHA256 Credential=(?P<key>[^/]*)/(?P<day>\d{8})/(?P<region>[^/]+)/mns/aliyun_v4_request,"
    r"\s*Signature=(?P<signature>[0-9a-f]+)",
    re.ASCII,
)
#: A client takes the time of a V4 signature from its clock, a moment after the Date of the request.
MOMENT = timedelta(seconds=1)


class Authentication:
    """Raises MnsError for a request that is not signed with the one key that is accepted."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def check(self, request: Request, at: datetime) -> None:
        authorization = request.headers.get("authorization", "")
        if not authorization:
            raise MnsError("MissingAuthorizationHeader")
        given = V2.fullmatch(authorization) or V4.fullmatch(authorization)
        if given is None:
            raise MnsError("InvalidAuthorizationHeader")
        _check_version(request.headers)
        date, when = _check_date(request.headers, at)
        _check_digest(request)
        if given["key"] != self._options.access_key_id:
            raise MnsError("InvalidAccessKeyId")
        expected = {self._v2(request, date)} if given.re is V2 else self._v4(request, given, when)
        if given["signature"].strip() not in expected:
            raise MnsError("SignatureDoesNotMatch")

    def _v2(self, request: Request, date: str) -> str:
        return signatures.mns_v2(
            self._options.access_key_secret,
            method=request.method,
            headers=request.headers,
            target=request.target,
            date=date,
        )

    def _v4(self, request: Request, given: re.Match[str], when: datetime) -> set[str]:
        """The signatures that are accepted, for the two seconds in which the client may have signed."""
        canonical = signatures.mns_v4_request(
            method=request.method, path=request.path, query=request.query, headers=request.headers
        )
        times = [f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}" for moment in (when, when + MOMENT)]
        return {
            signatures.mns_v4(self._options.access_key_secret, canonical, time=time, region=given["region"])
            for time in times
            if time.startswith(given["day"])
        }


def _check_version(headers: dict[str, str]) -> None:
    if "x-mns-version" not in headers:
        raise MnsError("MissingVersionHeader")
    if headers["x-mns-version"] != VERSION:
        raise MnsError("InvalidArgument", f"The value of x-mns-version should be {VERSION}.")


def _check_date(headers: dict[str, str], at: datetime) -> tuple[str, datetime]:
    """The date of the request as it stands there and as a time, if it is within the allowed skew."""
    date = headers.get("x-mns-date") or headers.get("date")
    if not date:
        raise MnsError("MissingDateHeader")
    try:
        when = _parsed_date(date)
    except ValueError as error:
        raise MnsError("InvalidDateHeader") from error
    if abs(at - when) > CLOCK_TOLERANCE:
        raise MnsError("TimeExpired")
    return date, when


@lru_cache(maxsize=64)
def _parsed_date(text: str) -> datetime:
    """Raises ValueError. Most requests have the date of the one before."""
    when = parsedate_to_datetime(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _check_digest(request: Request) -> None:
    """Content-MD5 is optional; accepted is the base64 of the hex digest or of the raw digest."""
    given = request.headers.get("content-md5")
    if not given:
        return
    digest = hashlib.md5(request.body, usedforsecurity=False)
    forms = (digest.hexdigest().encode(), digest.digest())
    if given.encode() not in {base64.b64encode(form) for form in forms}:
        raise MnsError("InvalidDegist")
