"""Where queue and jobs are: the endpoints and names that follow from region, account and queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from listener.core.errors import UsageError

_ACCOUNT: Final = re.compile(r"[0-9]{5,20}")
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_QUEUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,119}")
_ENDPOINT: Final = re.compile(r"https?://[^/?#@\s]+/?")
_QUEUE_URL: Final = re.compile(
    r"mns://(?P<account>[0-9]+)\.mns\.(?P<region>[a-z0-9-]+?)(?:-internal(?:-vpc)?)?\.aliyuncs\.com"
    r"/queues/(?P<queue>[^/]+)/?"
)
_PIPELINE_ID: Final = re.compile(r"[0-9a-f]{32}")


class Network(StrEnum):
    """From where the endpoints are reached."""

    PUBLIC = "public"  #: from anywhere, over https
    INTERNAL = "internal"  #: from the classic network of the same region
    VPC = "vpc"  #: from a VPC in the same region


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Region, account and queue, and the endpoints of both services."""

    region: str
    account: str
    queue: str
    mns_endpoint: str
    mps_endpoint: str  #: empty: the public one, which follows from the region

    @property
    def notify_url(self) -> str:
        """The NotifyUrl of jobs. MPS has no other form of it, so it is the same for all networks."""
        return f"mns://{self.account}.mns.{self.region}.aliyuncs.com/queues/{self.queue}"

    @property
    def has_public_endpoint(self) -> bool:
        """Whether the endpoint of MNS follows from ``notify_url``."""
        return self.mns_endpoint == _mns_endpoint(self.account, self.region, Network.PUBLIC)


def location(
    *, region: str, account: str, queue: str, network: Network, mns_endpoint: str = "", mps_endpoint: str = ""
) -> Location:
    """The location with the endpoints of the network, unless others are given. Raises UsageError."""
    for name, value, form, example in (
        ("--region", region, _REGION, "a region such as cn-shanghai"),
        ("--account", account, _ACCOUNT, "the numeric ID of the account, as the console shows it"),
        ("--queue", queue, _QUEUE, "up to 120 letters, digits and hyphens, beginning with a letter or digit"),
    ):
        if not form.fullmatch(value):
            given = f"{value!r} is not valid" if value else "is missing"
            raise UsageError(f"{name} {given}; use {example}")
    for name, endpoint in (("--mns-endpoint", mns_endpoint), ("--mps-endpoint", mps_endpoint)):
        if endpoint and not _ENDPOINT.fullmatch(endpoint):
            raise UsageError(f"{name} {endpoint!r} is not valid; use http(s)://host[:port] without a path")
    return Location(
        region=region,
        account=account,
        queue=queue,
        mns_endpoint=mns_endpoint or _mns_endpoint(account, region, network),
        mps_endpoint=mps_endpoint
        or (f"https://mts-vpc.{region}.aliyuncs.com" if network is Network.VPC else ""),
    )


def is_pipeline_id(text: str) -> bool:
    return bool(_PIPELINE_ID.fullmatch(text))


def _mns_endpoint(account: str, region: str, network: Network) -> str:
    """The internal ones are documented with http only."""
    match network:
        case Network.PUBLIC:
            return f"https://{account}.mns.{region}.aliyuncs.com"
        case Network.INTERNAL:
            return f"http://{account}.mns.{region}-internal.aliyuncs.com"
        case Network.VPC:
            return f"http://{account}.mns.{region}-internal-vpc.aliyuncs.com"


def parsed_url(url: str) -> Mapping[str, str]:
    """Region, account and queue of an ``mns://`` URL as options of ``location``; empty for other URLs."""
    found = _QUEUE_URL.fullmatch(url)
    return found.groupdict() if found else {}
