"""``mns-listener submit``: submit a job and keep its id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from listener.cli.common import (
    config_option,
    json_option,
    opened_store,
    print_facts,
    print_json,
    settings_from,
)
from listener.errors import UsageError

EPILOG = """\b
Examples:
  mns-listener submit Cover --route covers --data '{"article": 7}' \\
      --input  oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4 \\
      --output 'oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg'
  mns-listener submit CaptionExtraction --params '{"fps": 5}' --reference talk-7 \\
      --input  oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4 \\
      --output 'oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}.srt'

\b
The job is written to the store before the call is made, so that its callback finds
it whatever happens in between.
"""


@click.command(epilog=EPILOG)
@click.argument("function")
@click.option("--input", "input_url", required=True, help="oss://BUCKET.oss-REGION.aliyuncs.com/OBJECT")
@click.option(
    "--output",
    "output_url",
    default="",
    help="The same form; {source} {timestamp} {sequenceId} are filled in.",
)
@click.option("--params", default="{}", show_default=True, help="JobParams, a JSON object.")
@click.option("--pipeline", default=None, help="MPS pipeline id.  [default: mps.pipeline of the settings]")
@click.option(
    "--notify-url", default=None, help="mns://… of the queue to call back.  [default: mps.notify_url]"
)
@click.option("--route", default="", help="The route that the result is to take.")
@click.option("--data", default="", help="User data for the handler: text, or a JSON object.")
@click.option("--user-data", default=None, help="The whole user data, instead of --route and --data.")
@click.option("--reference", default="", help="Your own name for the job; unique.")
@click.option("--model", default="", help="ModelId; best left out.")
@click.option("--schedule-params", default="", help="ScheduleParams; best left out.")
@config_option
@json_option
def submit(*, path: Path | None, as_json: bool, **options: Any) -> None:
    """Submit one smart-production job.

    FUNCTION is the algorithm, such as Cover, CaptionExtraction or ASR.
    """
    from listener import submit as engine
    from listener.cli.shown import job_facts
    from listener.credentials import credentials
    from listener.mps import MpsClient

    settings = settings_from(path)
    request = _request(options, pipeline=settings.mps.pipeline, notify_url=settings.mps.notify_url)
    for warning in engine.check(request):
        click.echo(f"Warning: {warning}", err=True)
    with opened_store(settings) as store:
        client = MpsClient(settings.mps, credentials(settings.credentials))
        facts = job_facts(engine.submit(request, store=store, mps=client))
    print_json(facts) if as_json else print_facts(facts)


def _request(options: dict[str, Any], *, pipeline: str, notify_url: str) -> Any:
    from listener.submit import Request, compose_user_data

    if options["user_data"] is not None and (options["route"] or options["data"]):
        raise UsageError("--user-data is the whole user data; give it alone, or --route and --data")
    composed = compose_user_data(options["route"], options["data"])
    return Request(
        function=options["function"],
        input=options["input_url"],
        output=options["output_url"],
        params=options["params"],
        pipeline=pipeline if options["pipeline"] is None else options["pipeline"],
        notify_url=notify_url if options["notify_url"] is None else options["notify_url"],
        user_data=composed if options["user_data"] is None else options["user_data"],
        model=options["model"],
        schedule_params=options["schedule_params"],
        reference=options["reference"],
    )
