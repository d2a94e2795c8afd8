"""``mns-listener submit``: submit one job, or many from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from listener.cli import completing
from listener.cli.common import (
    config_option,
    json_option,
    opened_client,
    print_one,
    print_warnings,
    settings_from,
)
from listener.core.errors import Interrupted, UsageError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.api import serialize
    from listener.cli import bulk_submit, waiting
    from listener.formats import durations
    from listener.jobs import request as requests

if TYPE_CHECKING:
    from datetime import timedelta

    from listener.client import Client
    from listener.jobs.request import JobRequest

#: Options that describe one job; in a file, each line has its own.
ONE_JOB_ONLY = ("input_url", "output_url", "data", "user_data", "reference", "deadline")
WAIT_ONLY = ("waits", "timeout")
#: Options of a run through a file.
FILE_ONLY = ("form", "resume", "report", "concurrency")

EPILOG = """\b
Examples:
  mns-listener submit Cover --route covers --data '{"article": 7}' \\
      --input  oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4 \\
      --output 'oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg'
  mns-listener submit CaptionExtraction --params '{"fps": 5}' --reference talk-7 --wait \\
      --input  oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4 \\
      --output 'oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}.srt'
  mns-listener submit --kind Snapshot --params '{"Num": "5", "Interval": "10"}' --pipeline ID \\
      --input  oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4 \\
      --output 'oss://media.oss-cn-shanghai.aliyuncs.com/out/talk-{Count}.jpg'
  mns-listener submit --from jobs.jsonl --report report.jsonl
  mns-listener submit --from jobs.csv --resume

The job is written to the store before MPS is called, so that its callback is matched
even after a crash in between. A line of --from has the fields function, input,
output, params, route, data, reference and so on; --resume skips lines whose
reference was already submitted. After Ctrl-C, calls under way are finished; run
the same command with --resume to go on.

Exit status with --wait: 0 Success, 1 any other outcome, 124 timeout.
"""


@click.command(epilog=EPILOG)
@click.argument("function", required=False, shell_complete=completing.functions)
@click.option(
    "--from",
    "source",
    type=click.File(encoding="utf-8-sig", errors="surrogateescape"),
    help="Submit each line of a .jsonl or .csv file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    help="Format of the --from file.  [default: by its extension]",
)
@click.option("--resume", is_flag=True, help="With --from: skip lines that were already submitted.")
@click.option(
    "--report",
    type=click.Path(allow_dash=True, path_type=Path),
    help="With --from: write one JSON line per input line to this file.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="With --from: number of concurrent MPS calls.",
)
@click.option(
    "--input", "input_url", default="", help="Input file: oss://BUCKET.oss-REGION.aliyuncs.com/OBJECT"
)
@click.option(
    "--output",
    "output_url",
    default="",
    help="Output file, as --input; MPS replaces {source}, {timestamp}, {sequenceId} and {resultType}.",
)
@click.option(
    "--kind",
    default="",
    help="Instead of a FUNCTION: Transcode, Snapshot or MediaInfo. Its callback goes to the queue of --pipeline.",
)
@click.option(
    "--params",
    default="{}",
    show_default=True,
    help="A JSON object: JobParams of the function, the output of Transcode, or SnapshotConfig.",
)
@click.option("--pipeline", default=None, help="MPS pipeline id.  [default: the setting mps.pipeline]")
@click.option(
    "--notify-url",
    default=None,
    help="mns://… URL of the callback queue.  [default: the setting mps.notify_url]",
)
@click.option(
    "--route",
    default="",
    help="Deliver the result to this route.",
    shell_complete=completing.wanted_routes,
)
@click.option("--data", default="", help="User data for the handler: text, or a JSON object.")
@click.option("--user-data", default=None, help="Complete user data, instead of --route and --data.")
@click.option("--reference", default="", help="Your own unique name for the job.")
@click.option(
    "--deadline",
    default="",
    help="Time until the callback counts as overdue, e.g. 30m.  [default: from the settings]",
)
@click.option("--tenant", default="", help="The [tenants] table whose account to use.")
@click.option("--wait", "waits", is_flag=True, help="Wait until the daemon has recorded the outcome.")
@click.option(
    "--timeout", default="", help="With --wait: maximum time to wait, e.g. 10m.  [default: no limit]"
)
@click.option("--model", default="", help="ModelId of the API; advanced, usually omitted.")
@click.option("--schedule-params", default="", help="ScheduleParams of the API; advanced, usually omitted.")
@click.option(
    "--force",
    is_flag=True,
    help="Submit also what probably cannot work, such as a job without a callback; warns instead.",
)
@config_option
@json_option
@click.pass_context
def submit(ctx: click.Context, /, *, path: Path | None, as_json: bool, **options: Any) -> None:
    """Submit one job, or many with --from.

    FUNCTION is that of a smart-production job, e.g. Cover, CaptionExtraction or ASR.
    """
    if bool(options["function"] or options["kind"]) == bool(options["source"]):
        raise UsageError("specify a FUNCTION or a --kind, or a file of requests with --from; use one of them")
    _check_together(ctx, options)
    limit = waiting.limit_of(options["timeout"])
    settings = settings_from(path)
    one = None if options["source"] else _request(options)
    with opened_client(settings) as client:
        status = (
            _one(client, one, options, limit=limit, as_json=as_json)
            if one
            else bulk_submit.submit_file(client, options, as_json=as_json)
        )
    ctx.exit(status)


def _check_together(ctx: click.Context, options: dict[str, Any]) -> None:
    """Reject options that have no effect together, instead of ignoring them."""
    given = {
        name: option.opts[-1]
        for option in ctx.command.params
        if (name := option.name or "") in options
        and options[name]
        and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for names, misplaced, advice in (
        (
            ONE_JOB_ONLY,
            bool(options["source"]),
            "applies to a single job; with --from, put it into each line",
        ),
        (WAIT_ONLY, bool(options["source"]), "applies to a single job; use `mns-listener jobs wait` instead"),
        (FILE_ONLY, not options["source"], "requires --from"),
        (("timeout",), not options["waits"], "requires --wait"),
    ):
        wrong = [given[name] for name in names if name in given]
        if misplaced and wrong:
            raise UsageError(f"{wrong[0]} {advice}")


def _one(
    client: Client,
    request: JobRequest,
    options: dict[str, Any],
    *,
    limit: timedelta | None,
    as_json: bool,
) -> ExitCode:
    job = client.submit(request, tenant=options["tenant"], warn=lambda text: print_warnings([text]))
    status = ExitCode.OK
    if options["waits"]:
        try:
            (job,), status = waiting.wait_for(client, [job.job_id], limit)
        except KeyboardInterrupt as error:
            raise Interrupted(
                "interrupted; the job is submitted, and its outcome will be recorded; wait for it with "
                f"`mns-listener jobs wait {job.job_id}`"
            ) from error
    print_one(serialize.job_dict(job), as_json=as_json)
    return status


def _request(options: dict[str, Any]) -> JobRequest:
    try:
        deadline = durations.parse_duration(options["deadline"]) if options["deadline"] else None
    except ValueError as error:
        raise UsageError(f"--deadline: {error}") from error
    return requests.JobRequest(
        function=options["function"] or "",
        kind=requests.kind_name(options["kind"]),
        input=options["input_url"],
        output=options["output_url"],
        params=options["params"],
        pipeline=options["pipeline"],
        notify_url=options["notify_url"],
        route=options["route"],
        data=options["data"],
        user_data=options["user_data"],
        model=options["model"],
        schedule_params=options["schedule_params"],
        reference=options["reference"],
        deadline=deadline,
        force=options["force"],
    )
