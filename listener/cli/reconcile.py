"""``mns-listener reconcile``: query job status at MPS on demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.cli.common import config_option, json_option, print_json, print_table, settings_from
from listener.core.errors import UnavailableError, UsageError
from listener.core.ports import ALL_TENANTS

if TYPE_CHECKING:
    from listener.client import Client
    from listener.core.model import Job, Tenants
    from listener.jobs.reconciler import ReconcileOutcome, Reconciler

EPILOG = """\b
Examples:
  mns-listener reconcile --overdue
  mns-listener reconcile --job talk-7 --job 39f8e0bc005e4f309379701645f4a1b2

\b
The answer of MPS is recorded like a callback, and the daemon delivers it. The daemon
does the same automatically once the deadline of a job has passed.
Exit status: 69 if MPS was unavailable for at least one job, else 0.
"""


@click.command(epilog=EPILOG)
@click.option("--job", "names", multiple=True, help="A job id, reference or token; repeatable.")
@click.option("--overdue", is_flag=True, help="Query all jobs whose callback is overdue.")
@config_option
@json_option
def reconcile(*, names: tuple[str, ...], overdue: bool, path: Path | None, as_json: bool) -> None:
    """Query MPS for job status, and record the answer."""
    from listener.client import Client

    if overdue == bool(names):
        raise UsageError("specify jobs with --job, or --overdue; use one of the two")
    with Client(settings_from(path)) as client:
        found = _all_overdue(client) if overdue else _named(client, names)
    rows = [(job.job_id or job.reference or job.token, job.function, outcome) for job, outcome in found]
    if as_json:
        print_json([{"job": job, "function": function, "result": outcome} for job, function, outcome in rows])
    else:
        print_table(("job", "function", "result"), rows, empty="no overdue jobs")
    if any(outcome == "unavailable" for *_, outcome in rows):
        click.get_current_context().exit(UnavailableError.exit_code)


def _named(client: Client, names: Sequence[str]) -> list[tuple[Job, ReconcileOutcome]]:
    reconciler = _reconciler(client, ALL_TENANTS)
    return [(job, reconciler.reconcile(job)) for job in map(client.find, names)]


def _all_overdue(client: Client) -> list[tuple[Job, ReconcileOutcome]]:
    """For each tenant, until no overdue job is left or its MPS is unavailable."""
    from listener.jobs.reconciler import ReconcileOutcome, tenant_shards

    found: list[tuple[Job, ReconcileOutcome]] = []
    for tenants in tenant_shards(client.settings.tenants).values():
        reconciler = _reconciler(client, tenants)
        while turn := reconciler.turn():
            found += turn
            if any(outcome is ReconcileOutcome.UNAVAILABLE for _, outcome in turn):
                break
    return found


def _reconciler(client: Client, tenants: Tenants) -> Reconciler:
    from listener.intake.recorder import NullDeliverySink, Recorder
    from listener.jobs.reconciler import Reconciler

    settings = client.settings
    recorder = Recorder(
        store=client.store,
        rules=settings.rules(),
        correlation=settings.correlation_rules(),
        sink=NullDeliverySink(),
    )
    return Reconciler(
        store=client.store,
        recorder=recorder,
        mps_of=client.clients.mps,
        backoff=settings.reconcile.backoff(),
        timeout=settings.reconcile.timeout,
        clock_check=_QueueClock(client),
        tenants=tenants,
    )


class _QueueClock:
    """Asks the queues for the time, once a decision depends on it. Implements ``listener.core.ports.ClockCheck``."""

    wrong = False  # what is known to be overdue may be queried at any time

    def __init__(self, client: Client) -> None:
        self._client = client

    @cached_property
    def confirmed(self) -> bool:
        from listener.aliyun.mns_queue import check_queue
        from listener.runtime.clock_guard import ClockGuard

        guard = ClockGuard()
        for queue in self._client.settings.queues:
            with suppress(UnavailableError):
                check_queue(queue, self._client.clients.keys(queue.tenant), on_date=guard.confirm)
            if guard.confirmed:
                return True
        return False
