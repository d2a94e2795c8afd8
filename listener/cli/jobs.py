"""``mns-listener jobs``: list and inspect jobs, wait for them, register external ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.api.serialize import attempt_dict, delivery_dict, job_dict, result_dict
from listener.cli import completing
from listener.cli.common import (
    config_option,
    examples,
    json_option,
    opened_client,
    opened_store,
    page_options,
    print_fields,
    print_json,
    print_next_page,
    print_one,
    print_section,
    print_table,
    print_warnings,
    read_page,
    settings_from,
)
from listener.cli.filtering import AnyCase, filter_options
from listener.cli.table import cell_text
from listener.core.errors import NotFound, UsageError
from listener.core.lazy_imports import lazy_imports
from listener.core.model import Attempt, DeliveryState, Job, JobState, ResultStatus
from listener.formats.unicode_text import visible

with lazy_imports():
    from listener.cli import outputs_text, waiting
    from listener.formats import durations
    from listener.jobs import request as requests
    from listener.store import job_names
    from listener.store import queries as stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from listener.store.filters import Filters
    from listener.store.queries import JobHistory

#: In which order the column "deliveries" names the states: first what needs attention.
_DELIVERIES = (
    DeliveryState.DEAD,
    ResultStatus.PARKED,
    ResultStatus.WAITING,
    DeliveryState.PENDING,
    DeliveryState.RUNNING,
    DeliveryState.DROPPED,
    DeliveryState.DONE,
)

EXAMPLES = {
    "list": (
        "mns-listener jobs list --state submitted",
        "mns-listener jobs list --function Cover --route covers --since 2h",
        "mns-listener jobs list --reference 'talk-*' --until 2026-05-01T08:30",
    ),
    "show": (
        "mns-listener jobs show 39f8e0bc005e4f309379701645f4a1b2",
        "mns-listener jobs show 39f8e0bc",
        "mns-listener jobs show talk-7 --json",
    ),
    "wait": ("mns-listener jobs wait talk-7 talk-8 --timeout 10m",),
    "register": (
        "mns-listener jobs register 0ceb045c7c2d4a5fa1c5e9b3d6a3c1f0 --kind Transcode",
        "mns-listener jobs register 39f8e0bc005e4f309379701645f4a1b2 --function Cover --data covers:7",
    ),
}


@click.group(epilog=examples(EXAMPLES))
def jobs() -> None:
    """List and inspect jobs."""


@jobs.command("list", epilog=examples(EXAMPLES, "list"))
@click.option(
    "--state",
    type=AnyCase([str(state) for state in JobState]),
    help="Only jobs in this state.",
)
@filter_options()
@page_options
@config_option
@json_option
def list_jobs(
    *, state: str | None, filters: Filters, before: int | None, limit: int, path: Path | None, as_json: bool
) -> None:
    """List jobs, newest first, with the states of their deliveries."""
    with opened_store(settings_from(path), read_only=True) as store:
        queries = stored.Queries(store.database)
        read = partial(queries.jobs, state=state or "", filters=filters)
        page, following = read_page(read, before=before, limit=limit, row_id=lambda row: row[0])
        counts = queries.delivery_counts([row for row, _ in page])
    if as_json:
        print_json([{"id": row, **job_dict(job), "deliveries": counts.get(row, {})} for row, job in page])
    else:
        _show_page(page, counts, narrowed=bool(state or filters.given))
    print_next_page(following)


def _show_page(
    page: Sequence[tuple[int, Job]], counts: Mapping[int, Mapping[str, int]], *, narrowed: bool
) -> None:
    columns = (
        "id",
        "job",
        "reference",
        "kind",
        "function",
        "state",
        "deliveries",
        "user data",
        "created",
        "error",
    )
    print_table(
        columns,
        [_row(row, job, counts.get(row, {})) for row, job in page],
        empty="no jobs match" if narrowed else "no jobs; submit one with `mns-listener submit`",
        whole=("id", "job", "reference"),
    )


def _row(row: int, job: Job, counts: Mapping[str, int]) -> tuple[Any, ...]:
    return (
        row,
        job.job_id,
        job.reference,
        job.kind,
        job.function,
        job.state,
        _deliveries(counts),
        job.user_data,
        job.created_at,
        job.error,
    )


def _deliveries(counts: Mapping[str, int]) -> str:
    """``done``, or ``1 dead, 2 done`` if there are several."""
    if sum(counts.values()) == 1:
        return next(iter(counts))
    return ", ".join(f"{counts[state]} {state}" for state in _DELIVERIES if state in counts)


@jobs.command("show", epilog=examples(EXAMPLES, "show"))
@click.argument("name", shell_complete=completing.jobs)
@page_options
@config_option
@json_option
def show_job(*, name: str, before: int | None, limit: int, path: Path | None, as_json: bool) -> None:
    """Show one job with its results, deliveries and attempts.

    Of attempts at deliveries, those that did not go well at once are shown, at most ten times as many as results. Few
    jobs have more results than one page, which has the newest ones: then standard error, and "next" of --json, which
    has the same page, say with which --before to go on.

    NAME is a job id, a workflow run id, a reference or a token, or its beginning if no other one begins like this.
    """
    with opened_store(settings_from(path), read_only=True) as store:
        queries = stored.Queries(store.database)
        read = partial(queries.history, before=before or 0, limit=limit)
        history = read(name) or read(job_names.whole_name(queries, name))
    if history is None:
        raise NotFound(f"no job {name!r} in this store; list jobs with `mns-listener jobs list`")
    if as_json:
        print_json(_history_dict(history))
    else:
        _show_history(history)
    print_next_page(history.next)


def _history_dict(history: JobHistory) -> dict[str, Any]:
    """As the API answers it."""
    return {
        "job": job_dict(history.job) if history.job else None,
        "results": [result_dict(result, job=history.job) for result in history.results],
        "deliveries": [delivery_dict(delivery) for delivery in history.deliveries],
        "attempts": list(map(attempt_dict, history.attempts)),
        "next": history.next or None,
    }


def _show_history(history: JobHistory) -> None:
    shown = _history_dict(history)
    attempts: dict[int, list[Attempt]] = {}
    for attempt in history.attempts:
        attempts.setdefault(attempt.delivery_id, []).append(attempt)
    print_fields(shown["job"] or {"job": "not in this store"})
    for result in shown["results"]:
        outputs = result.pop("outputs")
        activities = outputs_text.activity_lines(result["activities"])
        print_section("result", result | {"activities": activities})
        if outputs:
            print_section("outputs", outputs_text.output_fields(outputs))
    for delivery in shown["deliveries"]:
        lines = list(map(_attempt_line, attempts.get(delivery["id"], ())))
        print_section("delivery", delivery | {"attempts": lines})


def _attempt_line(attempt: Attempt) -> str:
    """For example ``2  2026-05-01 08:30:00  retry after 1.25 s  HTTP 503``."""
    took = "" if attempt.seconds is None else f" after {attempt.seconds:.3g} s"
    began = cell_text(attempt.started_at or attempt.settled_at)
    return f"{attempt.attempt}  {began}  {attempt.outcome}{took}  {attempt.error}".rstrip()


@jobs.command("wait", epilog=examples(EXAMPLES, "wait"))
@click.argument("names", nargs=-1, required=True, shell_complete=completing.jobs)
@click.option(
    "--timeout", default="", help="Maximum time to wait for all of them, e.g. 10m.  [default: no limit]"
)
@config_option
@json_option
@click.pass_context
def wait(
    ctx: click.Context, *, names: tuple[str, ...], timeout: str, path: Path | None, as_json: bool
) -> None:
    """Wait until the daemon has recorded the outcome of each job.

    NAMES are job ids, references or tokens, or unique beginnings of them; each is printed as given, with the state.
    Exit status: 0 if all ended in Success, 1 if one did not, 66 if there is no such job, 124 on timeout. Warns while no
    daemon runs that could record outcomes.
    """
    limit = waiting.limit_of(timeout)
    with opened_client(settings_from(path), create=False, read_only=True) as client:
        ended, status = waiting.wait_for(client, names, limit)
    if as_json:
        print_json(list(map(job_dict, ended)))
    else:
        for name, job in zip(names, ended, strict=True):
            click.echo(visible(f"{name}  {job.state}  {job.error}".rstrip()))
    ctx.exit(status)


@jobs.command("register", epilog=examples(EXAMPLES, "register"))
@click.argument("job_id")
@click.option(
    "--kind",
    default="",
    shell_complete=completing.kinds,
    help="Kind of MPS job, e.g. Transcode, Snapshot or Workflow. MPS is queried once the job is overdue.",
)
@click.option(
    "--function",
    default="",
    help="The same for smart production, e.g. Cover.",
    shell_complete=completing.functions,
)
@click.option("--pipeline", default="", help="The MPS pipeline of the job.")
@click.option("--data", default=None, help="User data for routing, used if the callback has none.")
@click.option("--reference", default="", help="Your own unique name for the job.")
@click.option("--deadline", default="", help="Time until the callback counts as overdue, e.g. 30m.")
@click.option("--tenant", default="", help="The [tenants] table of the account that the job runs in.")
@config_option
@json_option
def register(
    *,
    job_id: str,
    kind: str,
    function: str,
    pipeline: str,
    data: str | None,
    reference: str,
    deadline: str,
    tenant: str,
    path: Path | None,
    as_json: bool,
) -> None:
    """Register an externally submitted job.

    JOB_ID is the job id that MPS returned, for any kind of job, or the run id of a workflow. Without --kind and
    --function its callback is awaited all the same, but MPS cannot be asked about it.
    """
    try:
        limit = durations.parse_duration(deadline) if deadline else None
    except ValueError as error:
        raise UsageError(f"--deadline: {error}") from error
    settings = settings_from(path)
    print_warnings(requests.function_warnings(function) if function else [])
    with opened_client(settings) as client:
        job = client.register(
            job_id,
            kind=kind,
            function=function,
            pipeline=pipeline,
            user_data=data,
            reference=reference,
            deadline=limit,
            tenant=tenant,
        )
    print_one(job_dict(job), as_json=as_json)
