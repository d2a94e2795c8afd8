"""What the accounts say: access keys, the queues with the key of their tenant, and MPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from listener.aliyun import mns_queue
from listener.aliyun.tenant_clients import TenantClients
from listener.checks.bounded_checks import BoundedChecks, Check, failures, ok
from listener.checks.mps_checks import mps_check, region_of
from listener.core import clock
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import QueueUnavailable
from listener.core.queue_status import QueueStatus
from listener.formats.service_hosts import mns_host
from listener.rules.endpoint_advice import advice_if_unreachable, judge_queue_endpoint
from listener.rules.machine_advice import judge_clock
from listener.rules.queue_advice import QueueNeeds, queue_advice, queue_summary
from listener.settings.sections import QueueSettings, Settings


class AccountChecks:
    """All that accounts with a key are asked. The construction waits for the keys, and starts the rest."""

    def __init__(self, settings: Settings, clients: TenantClients, bounded: BoundedChecks) -> None:
        self._bounded = bounded
        self._offsets: list[timedelta] = []  # of this clock, by the answers of MNS
        self._keys = {name: bounded.start(_key_check(clients, name)) for name in _tenants(settings)}
        usable = [name for name, running in self._keys.items() if _is_ok(bounded.results(running))]
        self._queues = [
            bounded.start(_queue_check(queue, settings, clients, self._note_date))
            for queue in settings.queues
            if queue.tenant in usable
        ]
        self._mps = [
            bounded.start(mps_check(name, settings, clients))
            for name in usable
            if settings.tenant(name).mps.configured
        ]

    def results(self) -> Iterator[CheckResult]:
        for running in (*self._keys.values(), *self._queues):
            yield from self._bounded.results(running)
        if self._offsets:
            yield judge_clock(self._offsets)
        for running in self._mps:
            yield from self._bounded.results(running)

    def _note_date(self, theirs: datetime) -> None:
        self._offsets.append(clock.now() - theirs)


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


def _queue_check(
    queue: QueueSettings, settings: Settings, clients: TenantClients, on_date: Callable[[datetime], None]
) -> Check:
    def read() -> QueueStatus | None:
        return mns_queue.read_status(queue, clients.keys(queue.tenant), on_date=on_date)

    return Check(
        kind=CheckKind.QUEUE, subject=queue.label, find=partial(_found_of_queue, queue, settings, read)
    )


def _found_of_queue(
    queue: QueueSettings, settings: Settings, read: Callable[[], QueueStatus | None]
) -> Iterator[CheckResult]:
    mps = settings.tenant(queue.tenant).mps
    yield from judge_queue_endpoint(queue.label, queue.endpoint, mps_region=region_of(mps))
    try:
        status = read()
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
