"""``mns-listener setup``: create a queue, bind a pipeline to it, and write the settings file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.cli.common import (
    config_option,
    json_option,
    print_json,
    print_table,
    print_warnings,
    settings_from,
)
from listener.core.errors import Interrupted, ListenerError, UsageError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.cli import setup_run
    from listener.jobs import settings_warnings
    from listener.setup import location as locations
    from listener.setup import policies, steps

if TYPE_CHECKING:
    from listener.cli.setup_run import SetupRequest, SetupRun
    from listener.settings.sections import Settings
    from listener.setup.location import Location

DEFAULT_QUEUE = "mps-callbacks"
DEFAULT_FILE = Path("listener.toml")
_ENDPOINTS = ("mns_endpoint", "mps_endpoint")

EPILOG = """\b
Examples:
  mns-listener setup --region cn-shanghai --account 1234567890 --dry-run
  mns-listener setup --region cn-shanghai --account 1234567890
  mns-listener setup --region cn-shanghai --account 1234567890 --new-pipeline transcode
  mns-listener setup -c listener.toml
  mns-listener setup -c listener.toml --pipeline transcode --rebind

Creates the queue, binds a pipeline to it if one is named, and writes listener.toml.
To a queue that it creates it also sends a test message, receives it and deletes it;
no handler gets it. What exists is only changed with --fix, --rebind or --force, or
after a question on a terminal. Run it twice: the second run changes nothing.
If there is a settings file already, region, account, queue and key come from it as far
as no option names them, and it is left as it is. Without one the key comes from the
default chain. docs/first-account.md goes on to the first callback.

Exit status: 0 done, also if something that existed was left as it is; 1 the test
message was sent but not received; 2 refused, nothing was changed; 66 there is no such
pipeline; 69 MNS or MPS is unavailable, or refuses the key; 78 invalid configuration;
130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.option("--region", default="", help="Region of MPS, its buckets and the queue, e.g. cn-shanghai.")
@click.option("--account", default="", help="Numeric ID of the Alibaba Cloud account.")
@click.option("--queue", default="", help=f"Name of the MNS queue.  [default: {DEFAULT_QUEUE}]")
@click.option("--pipeline", default="", help="ID or name of a pipeline to bind to the queue.")
@click.option("--new-pipeline", default="", metavar="NAME", help="Create a pipeline bound to the queue.")
@click.option("--tenant", default="", help="The [tenants] table that the account belongs to.")
@click.option(
    "--network",
    type=click.Choice(["public", "internal", "vpc"]),
    default=None,
    help="From where the endpoints are reached; the last two only within the region.  [default: public]",
)
@click.option("--mns-endpoint", default="", help="http(s)://host[:port] of MNS, e.g. of the emulator.")
@click.option("--mps-endpoint", default="", help="http(s)://host[:port] of MPS, e.g. of the emulator.")
@click.option("--fix", is_flag=True, help="Set attributes of an existing queue that differ.")
@click.option("--rebind", is_flag=True, help="Allow taking a pipeline away from another queue or topic.")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help=f"Settings file to write.  [default: ./{DEFAULT_FILE} if no file was read]",
)
@click.option("--force", is_flag=True, help="Replace the settings file if it exists.")
@click.option(
    "--test-message/--no-test-message",
    default=None,
    help="Send a test message and receive it.  [default: only to a queue that is created]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@config_option
@json_option
@click.pass_context
def setup(ctx: click.Context, /, *, path: Path | None, as_json: bool, **options: Any) -> None:
    """Create a queue, bind a pipeline to it, and write the settings file."""
    _require_values(ctx, options)
    request = _request(path, options)
    asks = sys.stdin.isatty() and not (as_json or request.dry_run)
    run = setup_run.SetupRun(request, ask=_ask if asks else _refuse)
    print_warnings(settings_warnings.settings_warnings(run.settings))
    try:
        run.carry_out()
    except (KeyboardInterrupt, click.Abort) as error:
        raise Interrupted(f"interrupted; {_so_far(run)}") from error
    except (ListenerError, OSError):
        if run.steps:
            click.echo(f"Error after the first steps; {_so_far(run)}", err=True)
        raise
    print_json(_document(request, run)) if as_json else _show(request, run)
    failed = any(step.status is steps.Status.NOT_RECEIVED for step in run.steps)
    ctx.exit(ExitCode.FAILED if failed else ExitCode.OK)


def _require_values(ctx: click.Context, options: Mapping[str, Any]) -> None:
    """An option that is given with an empty text, as by ``--pipeline "$UNSET"``, would be ignored otherwise."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and options.get(name) == "" and name != "tenant":
            raise UsageError(f"{parameter.opts[0]} is empty; give it a value, or omit it")


def _request(path: Path | None, options: dict[str, Any]) -> SetupRequest:
    if options["pipeline"] and options["new_pipeline"]:
        raise UsageError(
            "--pipeline names an existing pipeline, --new-pipeline creates one; use one of the two"
        )
    source = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    settings = settings_from(source) if source else None
    write = options.pop("write") or (None if source and not options["force"] else source or DEFAULT_FILE)
    names = ("region", "account", "queue", "network", *_ENDPOINTS)
    given = {name: options.pop(name) for name in names}
    where = _location(given, settings, options["tenant"])
    return setup_run.SetupRequest(location=where, source=source, settings=settings, write=write, **options)


def _location(given: Mapping[str, str], settings: Settings | None, tenant: str) -> Location:
    """From the options, else from the settings of the tenant. Raises UsageError and SettingsError."""
    known = _known(settings, tenant) if settings else {}
    if given["region"] or given["account"] or given["network"]:
        known = {
            name: value for name, value in known.items() if name not in _ENDPOINTS
        }  # those of another place
    merged = {name: value or known.get(name, "") for name, value in given.items()}
    return locations.location(
        region=merged["region"],
        account=merged["account"],
        queue=merged["queue"] or DEFAULT_QUEUE,
        network=locations.Network(merged["network"] or locations.Network.PUBLIC),
        mns_endpoint=merged["mns_endpoint"],
        mps_endpoint=merged["mps_endpoint"],
    )


def _known(settings: Settings, tenant: str) -> Mapping[str, str]:
    """What the settings say about region, account, queue and endpoints."""
    mps = settings.tenant(tenant).mps
    queue = next((each for each in settings.queues if each.tenant == tenant), None)
    named = locations.parsed_url((queue.url if queue else "") or mps.notify_url)
    known = {"mps_endpoint": mps.endpoint, "region": mps.region}
    if queue:
        known |= {"mns_endpoint": queue.endpoint, "queue": queue.queue}
    return {**named, **{name: value for name, value in known.items() if value}}


def _ask(question: str) -> bool:
    return click.confirm(question, default=False, err=True)


def _refuse(_question: str) -> bool:
    return False


def _so_far(run: SetupRun) -> str:
    done = ", ".join(f"{step.name}: {step.status}" for step in run.steps)
    if not done:
        return "no step was completed; run the same command again"
    return f"done: {done}; run the same command again, it goes on from there"


def _document(request: SetupRequest, run: SetupRun) -> dict[str, Any]:
    return {
        "changed": _changed(run),
        "dry_run": request.dry_run,
        "steps": [asdict(step) for step in run.steps],
        "pipeline_id": run.pipeline.id if run.pipeline else "",
        "notify_url": request.location.notify_url,
        "notes": [steps.role_note(run.pipeline)],
        "policies": _policies(request.location),
    }


def _changed(run: SetupRun) -> bool:
    return any(step.status in steps.CHANGES for step in run.steps)


def _policies(location: Location) -> Mapping[str, Any]:
    return {"daemon": policies.daemon_policy(location), "submitters": policies.submitter_policy()}


def _show(request: SetupRequest, run: SetupRun) -> None:
    rows = [(step.name, step.status, step.detail) for step in run.steps]
    print_table(("step", "status", "detail"), rows, empty="nothing to do")
    click.echo()
    if request.dry_run:
        click.echo("This was a dry run: nothing was changed.")
    elif not _changed(run):
        click.echo("Nothing was changed.")
    click.echo(steps.role_note(run.pipeline))
    if request.dry_run or _changed(run):
        for user, policy in _policies(request.location).items():
            text = policies.policy_text(policy)
            click.echo(f"\nRAM policy with the least rights for {_USERS[user]}:\n{text}")
    else:
        click.echo("\nRAM policies with the least rights: add --dry-run to print them.")
    config = f"-c {request.write or request.source}"
    tenant = f" --tenant {request.tenant}" if request.tenant else ""
    click.echo(
        f"\nNext: `mns-listener check {config}`, `mns-listener run {config}`, and submit a job with "
        f"`mns-listener submit{tenant}`; its NotifyUrl is {request.location.notify_url}"
    )


_USERS = {"daemon": "the daemon", "submitters": "those who submit jobs"}
