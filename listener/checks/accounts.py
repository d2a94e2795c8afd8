"""What the accounts say: access keys, the queues with the key of their tenant, and MPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from listener.aliyun import mns_queue
from listener.aliyun.tenant_clients import TenantClients
from listener.checks.bounded_checks import BoundedChecks, Check, RunningCheck, failures, ok
from listener.checks.mps_checks import mps_check, region_of
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import QueueUnavailable
from listener.formats.service_hosts import mns_host
from listener.rules.endpoint_advice import advice_if_unreachable, judge_queue_endpoint
from listener.rules.queue_advice import QueueNeeds, queue_advice, queue_summary
from listener.settings.sections import QueueSettings, Settings


def start_accounts(
    settings: Settings, clients: TenantClients, bounded: BoundedChecks
) -> Sequence[RunningCheck]:
    """Start what is asked of each account whose key is there; returns all checks in the order of their results."""
    keys = {tenant: bounded.start(_key_check(clients, tenant)) for tenant in _tenants(settings)}
    usable = [tenant for tenant, running in keys.items() if _is_ok(bounded.results(running))]
    queues = [
        bounded.start(_queue_check(queue, settings, clients))
        for queue in settings.queues
        if queue.tenant in usable
    ]
    mps = [
        bounded.start(mps_check(tenant, settings, clients))
        for tenant in usable
        if settings.tenant(tenant).mps.configured
    ]
    return [*keys.values(), *queues, *mps]


def _tenants(settings: Settings) -> Sequence[str]:
    """Those that have a queue or MPS, in the order of the settings; "" is the top level."""
    polled = {queue.tenant for queue in settings.queues}
    return [
        name for name in ("", *settings.tenants) if name in polled or settings.tenant(name).mps.configured
    ]


def _is_ok(results: Sequence[CheckResult]) -> bool:
    return all(result.level != Level.FAILED for result in results)


def _key_check(clients: TenantClients, tenant: str) -> Check:
    def verify() -> str:
        return f"{clients.keys(tenant).get_credentials().id[:4]}…"

    return Check.of(CheckKind.ACCESS_KEY, verify, subject=tenant)


def _queue_check(queue: QueueSettings, settings: Settings, clients: TenantClients) -> Check:
    find = partial(_found_of_queue, queue, settings, clients)
    return Check(kind=CheckKind.QUEUE, subject=queue.label, find=find)


def _found_of_queue(
    queue: QueueSettings, settings: Settings, clients: TenantClients
) -> Iterator[CheckResult]:
    mps = settings.tenant(queue.tenant).mps
    yield from judge_queue_endpoint(queue.label, queue.endpoint, mps_region=region_of(mps))
    try:
        status = mns_queue.read_status(queue, clients.keys(queue.tenant))
    except QueueUnavailable as error:
        (failure,) = failures(CheckKind.QUEUE, queue.label, error)
        advice = advice_if_unreachable(mns_host(queue.endpoint), error) or error.hint
        yield replace(failure, advice=advice or "verify the endpoint and the network")
        return
    if status is None:
        yield ok(
            CheckKind.QUEUE,
            "reachable; this key has no permission to read its attributes, so they were not judged",
            subject=queue.label,
            advice="grant the RAM user mns:GetQueueAttributes on the queue to have its attributes judged",
        )
        return
    yield ok(CheckKind.QUEUE, queue_summary(status), subject=queue.label)
    needs = QueueNeeds(store_retention=settings.store.retention, reconciled=mps.configured)
    yield from queue_advice(queue.label, status, needs)
