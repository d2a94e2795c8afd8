"""``mns-listener reconcile``: query job status at MPS on demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from listener.cli import completing
from listener.cli.common import (
    config_option,
    json_option,
    opened_client,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.names import find_job
from listener.core import clock
from listener.core.errors import UnavailableError, UsageError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.aliyun import mns_queue
    from listener.core import ports
    from listener.intake import recorder
    from listener.jobs import reconciler as reconciling
    from listener.runtime import clock_guard
    from listener.store import queries

if TYPE_CHECKING:
    from listener.client import Client
    from listener.core.model import Job, Tenants
    from listener.jobs.reconciler import ReconcileOutcome, Reconciler

#: The result of an overdue job whose next query is not due yet, and how many of these are listed.
WAITING: Final = "waiting"
MAX_WAITING: Final = 1000

EPILOG = """\b
Examples:
  mns-listener reconcile --overdue
  mns-listener reconcile --job talk-7 --job 39f8e0bc005e4f309379701645f4a1b2

The answer of MPS is recorded like a callback, and the daemon delivers it. The daemon
does the same automatically once the deadline of a job has passed. With --overdue,
a job that was queried lately is not queried again but listed as waiting, with the time
of its next query; --job queries any job at once, and does not change when the daemon
will query it.

Exit status: 69 if MPS was unavailable for at least one job, else 0.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--job",
    "names",
    multiple=True,
    help="A job id, reference or token; repeatable.",
    shell_complete=completing.jobs,
)
@click.option("--overdue", is_flag=True, help="Query all jobs whose callback is overdue.")
@config_option
@json_option
def reconcile(*, names: tuple[str, ...], overdue: bool, path: Path | None, as_json: bool) -> None:
    """Query MPS for job status, and record the answer."""
    if overdue == bool(names):
        raise UsageError("specify jobs with --job, or --overdue; use one of the two")
    with opened_client(settings_from(path), create=False) as client:
        found = _all_overdue(client) if overdue else _named(client, names)
        waiting = _waiting(client) if overdue else {}
    lines = [_line(job, outcome, waiting.pop(job.token, (job, None))[1]) for job, outcome in found]
    lines += [_line(job, WAITING, next_query) for job, next_query in waiting.values()]
    if as_json:
        print_json(lines)
    else:
        columns = ("job", "kind", "function", "result", "next query")
        print_table(
            columns, [tuple(line.values()) for line in lines], empty="no overdue jobs", whole=("job",)
        )
    if any(line["result"] == "unavailable" for line in lines):
        click.get_current_context().exit(ExitCode.UNAVAILABLE)


def _waiting(client: Client) -> dict[str, tuple[Job, datetime | None]]:
    """Overdue jobs that wait for their next query, by token."""
    found = queries.Queries(client.store.database).overdue_waiting(at=clock.now(), limit=MAX_WAITING)
    return {job.token: (job, next_query) for job, next_query in found}


def _line(job: Job, result: str, next_query: datetime | None) -> dict[str, Any]:
    return {
        "job": job.job_id or job.reference or job.token,
        "kind": job.kind,
        "function": job.function,
        "result": result,
        "next_query_at": next_query,
    }


def _named(client: Client, names: Sequence[str]) -> list[tuple[Job, ReconcileOutcome]]:
    reconciler = _reconciler(client, ports.ALL_TENANTS)
    return [(job, reconciler.ask(job)) for job in [find_job(client, name) for name in names]]


def _all_overdue(client: Client) -> list[tuple[Job, ReconcileOutcome]]:
    """For each tenant, until no overdue job is left or its MPS is unavailable."""
    found: list[tuple[Job, ReconcileOutcome]] = []
    for tenants in reconciling.tenant_shards(client.settings.tenants).values():
        reconciler = _reconciler(client, tenants)
        while turn := reconciler.turn():
            found += turn
            if any(outcome is reconciling.ReconcileOutcome.UNAVAILABLE for _, outcome in turn):
                break
    return found


def _reconciler(client: Client, tenants: Tenants) -> Reconciler:
    settings = client.settings
    records = recorder.Recorder(
        store=client.store,
        rules=settings.rules(),
        correlation=settings.correlation_rules(),
        sink=recorder.NullDeliverySink(),
    )
    return reconciling.Reconciler(
        store=client.store,
        recorder=records,
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
        guard = clock_guard.ClockGuard()
        guard.learn(self._client.store.newest_times())
        for queue in self._client.settings.queues:
            with suppress(UnavailableError):
                mns_queue.read_status(queue, self._client.clients.keys(queue.tenant), on_date=guard.confirm)
            if guard.confirmed:
                return True
        return False
