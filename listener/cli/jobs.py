"""``mns-listener jobs``: what is known of submitted jobs."""

from __future__ import annotations

from pathlib import Path

import click

from listener.cli.common import (
    config_option,
    json_option,
    opened_store,
    page_options,
    print_fields,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.serialize import delivery_dict, job_dict, result_dict
from listener.core.errors import UsageError

EPILOG = """\b
Examples:
  mns-listener jobs list --state submitted
  mns-listener jobs show 39f8e0bc005e4f309379701645f4a1b2
  mns-listener jobs show talk-7 --json
  mns-listener jobs wait talk-7 talk-8 --timeout 10m
  mns-listener jobs register 0ceb045c7c2d4a5fa1c5e9b3d6a3c1f0 --data captions:7
"""


@click.group(epilog=EPILOG)
def jobs() -> None:
    """Look at submitted jobs."""


@jobs.command("list", epilog=EPILOG)
@click.option("--state", default="", help="intent, submitted, refused, Success, Fail, Cancelled or Lost.")
@page_options
@config_option
@json_option
def list_jobs(*, state: str, before: int | None, limit: int, path: Path | None, as_json: bool) -> None:
    """List jobs, newest first."""
    from listener.store.queries import Queries

    with opened_store(settings_from(path)) as store:
        page = Queries(store.database).jobs(state=state, before=before or 0, limit=limit)
    if as_json:
        print_json([{"id": row, **job_dict(job)} for row, job in page])
        return
    print_table(
        ("id", "job", "reference", "function", "state", "user data", "created", "error"),
        [
            (
                row,
                job.job_id or "-",
                job.reference,
                job.function,
                job.state,
                job.user_data,
                job.created_at,
                job.error,
            )
            for row, job in page
        ],
        empty="no jobs" + (f" in state {state!r}" if state else "; submit one with `mns-listener submit`"),
    )


@jobs.command("show", epilog=EPILOG)
@click.argument("name")
@config_option
@json_option
def show_job(*, name: str, path: Path | None, as_json: bool) -> None:
    """Show one job with its results and deliveries.

    NAME is a job id, a workflow's run id, a reference or a token.
    """
    from listener.store.queries import Queries

    with opened_store(settings_from(path)) as store:
        history = Queries(store.database).history(name)
    if history is None:
        raise UsageError(f"no job {name!r} is known here; `mns-listener jobs list` shows the ones that are")
    job = job_dict(history.job) if history.job else None
    found = [result_dict(stored) for stored in history.results]
    sent = [delivery_dict(delivery) for delivery in history.deliveries]
    if as_json:
        print_json({"job": job, "results": found, "deliveries": sent})
        return
    print_fields(job or {"job": "not submitted here"})
    for title, facts in [("result", facts) for facts in found] + [("delivery", facts) for facts in sent]:
        click.echo(f"\n{title}")
        print_fields(facts)


@jobs.command("wait", epilog=EPILOG)
@click.argument("names", nargs=-1, required=True)
@click.option("--timeout", default="", help="For each job, as in 10m.  [default: for ever]")
@config_option
@json_option
@click.pass_context
def wait(
    ctx: click.Context, *, names: tuple[str, ...], timeout: str, path: Path | None, as_json: bool
) -> None:
    """Wait until the daemon has recorded the outcomes of jobs.

    NAMES are job ids, references or tokens. Exit status: 0 if all are Success, 1 if one is not, 124 if time ran out.
    """
    from listener.cli.submit import awaited
    from listener.client import Client

    with Client(settings_from(path)) as client:
        outcomes = [awaited(client, name, timeout) for name in names]
    if as_json:
        print_json([job_dict(job) for job, _ in outcomes])
    else:
        for job, _ in outcomes:
            click.echo(f"{job.job_id or job.reference}  {job.state}  {job.error}".rstrip())
    ctx.exit(max(status for _, status in outcomes))


@jobs.command("register", epilog=EPILOG)
@click.argument("job_id")
@click.option("--function", default="", help="With it, MPS can be asked about the job once it is overdue.")
@click.option("--pipeline", default="", help="The pipeline that it is in.")
@click.option("--data", default=None, help="User data to route by, where the callback brings none.")
@click.option("--reference", default="", help="Your own name for the job; unique.")
@click.option("--deadline", default="", help="When its callback is overdue, as in 30m.")
@click.option("--tenant", default="", help="The [tenants] table whose account it is in.")
@config_option
@json_option
def register(
    *,
    job_id: str,
    function: str,
    pipeline: str,
    data: str | None,
    reference: str,
    deadline: str,
    tenant: str,
    path: Path | None,
    as_json: bool,
) -> None:
    """Make a job known that other software submitted.

    JOB_ID is what MPS answered: of any type of job, or a workflow's run id.
    """
    from listener.client import Client
    from listener.formats.durations import parse_duration

    try:
        limit = parse_duration(deadline) if deadline else None
    except ValueError as error:
        raise UsageError(f"--deadline: {error}") from error
    with Client(settings_from(path)) as client:
        job = client.register(
            job_id,
            function=function,
            pipeline=pipeline,
            user_data=data,
            reference=reference,
            deadline=limit,
            tenant=tenant,
        )
    print_json(job_dict(job)) if as_json else print_fields(job_dict(job))
