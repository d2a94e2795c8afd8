"""Whether the endpoints of the settings are those of MNS and MPS in one region, as pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import FailureKind, UnavailableError
from listener.formats.service_hosts import ServiceHost, is_vendors, mns_host, mps_host

_NO_CONNECTION = (
    FailureKind.TIMEOUT,
    FailureKind.DNS,
    FailureKind.REFUSED,
    FailureKind.CONNECTION,
)


def judge_queue_endpoint(name: str, endpoint: str, *, mps_region: str) -> Iterator[CheckResult]:
    """A warning if MPS cannot send callbacks there, or if the host is none of MNS. Other hosts are not judged."""
    host = mns_host(endpoint)
    if host is None and is_vendors(endpoint):
        yield _warning(
            CheckKind.QUEUE_ENDPOINT,
            name,
            f"{endpoint} is not an endpoint of MNS",
            "use https://ACCOUNT.mns.REGION.aliyuncs.com, with the number of the account",
        )
    if host and mps_region and host.region != mps_region:
        yield _warning(
            CheckKind.QUEUE_ENDPOINT,
            name,
            f"the queue is in {host.region}, but MPS in {mps_region} sends callbacks only to queues in its own region",
            f"use a queue in {mps_region}, or the MPS of {host.region}",
        )


def judge_mps_endpoint(tenant: str, endpoint: str, *, region: str) -> Iterator[CheckResult]:
    """The same of the endpoint of MPS, and the region in the settings."""
    host = mps_host(endpoint)
    if host is None and is_vendors(endpoint):
        yield _warning(
            CheckKind.MPS_ENDPOINT,
            tenant,
            f"{endpoint} is not an endpoint of MPS",
            "use https://mts.REGION.aliyuncs.com, or mts-vpc.REGION.aliyuncs.com from within a VPC",
        )
    if host and region and host.region != region:
        yield _warning(
            CheckKind.MPS_ENDPOINT,
            tenant,
            f"{endpoint} is in {host.region}, but the region in the settings is {region}",
            "remove the endpoint, which follows from the region, or fix the region",
        )


def advice_if_unreachable(host: ServiceHost | None, error: UnavailableError) -> str:
    """What to do about an internal endpoint that could not be reached; empty if that is not the cause."""
    if host is None or not host.internal or error.kind not in _NO_CONNECTION:
        return ""
    return (
        f"this is an internal endpoint, which can be reached only from within {host.region}, "
        f"or from a VPC there; elsewhere use {host.public}"
    )


def _warning(kind: CheckKind, subject: str, detail: str, advice: str) -> CheckResult:
    return CheckResult(level=Level.WARNING, kind=kind, subject=subject, detail=detail, advice=advice)
