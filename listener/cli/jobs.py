"""``mns-listener jobs``: what is known of submitted jobs."""

from __future__ import annotations

from pathlib import Path

import click

from listener.cli.common import (
    config_option,
    json_option,
    opened_store,
    page_options,
    print_facts,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.shown import delivery_facts, job_facts, result_facts
from listener.errors import UsageError

EPILOG = """\b
Examples:
  mns-listener jobs list --state submitted
  mns-listener jobs show 39f8e0bc005e4f309379701645f4a1b2
  mns-listener jobs show talk-7 --json
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
    from listener.store.views import Views

    with opened_store(settings_from(path)) as store:
        page = Views(store.database).jobs(state=state, before=before or 0, limit=limit)
    if as_json:
        print_json([{"id": row, **job_facts(job)} for row, job in page])
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
    from listener.store.views import Views

    with opened_store(settings_from(path)) as store:
        story = Views(store.database).story(name)
    if story is None:
        raise UsageError(f"no job {name!r} is known here; `mns-listener jobs list` shows the ones that are")
    job = job_facts(story.job) if story.job else None
    found = [result_facts(kept) for kept in story.results]
    sent = [delivery_facts(delivery) for delivery in story.deliveries]
    if as_json:
        print_json({"job": job, "results": found, "deliveries": sent})
        return
    print_facts(job or {"job": "not submitted here"})
    for title, facts in [("result", facts) for facts in found] + [("delivery", facts) for facts in sent]:
        click.echo(f"\n{title}")
        print_facts(facts)
