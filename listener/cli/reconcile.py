"""``mns-listener reconcile``: ask MPS about jobs by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.cli.common import config_option, json_option, print_json, print_table, settings_from
from listener.core.errors import UnavailableError, UsageError
from listener.core.ports import EVERYBODY

if TYPE_CHECKING:
    from listener.client import Client
    from listener.core.model import Job, Tenants
    from listener.jobs.reconciler import Finding, Reconciler

EPILOG = """\b
Examples:
  mns-listener reconcile --overdue
  mns-listener reconcile --job talk-7 --job 39f8e0bc005e4f309379701645f4a1b2

\b
What MPS answers is recorded like a callback, and the daemon delivers it. The daemon
does the same by itself once a job's deadline has passed.
Exit status: 69 if MPS could not be reached for one of them, else 0.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--job", "names", multiple=True, help="A job id, reference or token; may be given several times."
)
@click.option("--overdue", is_flag=True, help="All jobs whose callback is overdue.")
@config_option
@json_option
def reconcile(*, names: tuple[str, ...], overdue: bool, path: Path | None, as_json: bool) -> None:
    """Ask MPS what has become of jobs, and record the answers."""
    from listener.client import Client

    if overdue == bool(names):
        raise UsageError("name jobs with --job, or say --overdue")
    with Client(settings_from(path)) as client:
        found = _all_overdue(client) if overdue else _named(client, names)
    rows = [(job.job_id or job.reference or job.token, job.function, finding) for job, finding in found]
    if as_json:
        print_json(
            [{"job": job, "function": function, "finding": finding} for job, function, finding in rows]
        )
    else:
        print_table(("job", "function", "finding"), rows, empty="no overdue jobs")
    if any(finding == "unreached" for *_, finding in rows):
        click.get_current_context().exit(UnavailableError.exit_code)


def _named(client: Client, names: Sequence[str]) -> list[tuple[Job, Finding]]:
    reconciler = _reconciler(client, EVERYBODY)
    return [(job, reconciler.reconcile(job)) for job in map(client.find, names)]


def _all_overdue(client: Client) -> list[tuple[Job, Finding]]:
    """Of each tenant until there are no more, or until its MPS can't be reached."""
    from listener.jobs.reconciler import Finding, apart

    found: list[tuple[Job, Finding]] = []
    for tenants in apart(client.settings.tenants).values():
        reconciler = _reconciler(client, tenants)
        while turn := reconciler.turn():
            found += turn
            if any(finding is Finding.UNREACHED for _, finding in turn):
                break
    return found


def _reconciler(client: Client, tenants: Tenants) -> Reconciler:
    from listener.intake.recorder import Intake, NobodyTakes
    from listener.jobs.reconciler import Reconciler

    settings = client.settings
    intake = Intake(
        store=client.store,
        rules=settings.rules(),
        correlation=settings.correlation.value(),
        taker=NobodyTakes(),
    )
    return Reconciler(
        store=client.store,
        intake=intake,
        mps_of=client.accounts.mps,
        patience=settings.reconcile.patience(),
        tenants=tenants,
    )
