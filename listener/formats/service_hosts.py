"""The host names of MNS and MPS: which account, region and network an endpoint is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_DOMAIN: Final = ".aliyuncs.com"
_REGION: Final = r"(?P<region>[a-z]{2}-[a-z0-9-]+?)"
#: The vendor's samples mask account IDs with asterisks.
_MNS: Final = re.compile(rf"(?P<account>[0-9*]+)\.mns\.{_REGION}(?P<network>-internal-vpc|-internal|-vpc)?")
_MPS: Final = re.compile(rf"mts(?P<network>-vpc|-internal)?\.{_REGION}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHost:
    """What the name of a host says."""

    region: str
    account: str = ""  #: only in hosts of MNS
    internal: bool = False  #: reachable only from within the region, or from a VPC there
    public: str  #: the host of the same service that can be reached from everywhere


def is_vendors(endpoint: str) -> bool:
    """Whether the host is one of Alibaba Cloud, rather than an emulator, a proxy or a name of one's own."""
    return _host(endpoint).endswith(_DOMAIN)


def mns_host(endpoint: str) -> ServiceHost | None:
    """Of ``ACCOUNT.mns.REGION[-internal|-vpc|-internal-vpc].aliyuncs.com``; None for any other host."""
    found = _MNS.fullmatch(_host(endpoint).removesuffix(_DOMAIN)) if is_vendors(endpoint) else None
    if not found:
        return None
    account, region = found["account"], found["region"]
    public = f"{account}.mns.{region}{_DOMAIN}"
    return ServiceHost(region=region, account=account, internal=bool(found["network"]), public=public)


def mps_host(endpoint: str) -> ServiceHost | None:
    """Of ``mts[-vpc].REGION.aliyuncs.com``; None for any other host."""
    found = _MPS.fullmatch(_host(endpoint).removesuffix(_DOMAIN)) if is_vendors(endpoint) else None
    if not found:
        return None
    region = found["region"]
    return ServiceHost(region=region, internal=bool(found["network"]), public=f"mts.{region}{_DOMAIN}")


def _host(endpoint: str) -> str:
    """In lower case and without the port; empty for what is not a URL."""
    try:
        return (urlsplit(endpoint).hostname or "").lower()
    except ValueError:
        return ""
