"""``mns-listener trigger``: send a made-up callback of any kind and state to a queue."""

from __future__ import annotations

import difflib
import json
import secrets
from dataclasses import dataclass
from itertools import chain
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
    print_warnings,
    settings_from,
)
from listener.cli.names import find_job
from listener.cli.sending import chosen_queue, confirm_queue, sender, sending_options
from listener.core import clock, job_kinds
from listener.core.errors import Undecodable, UsageError
from listener.core.lazy_imports import lazy_imports
from listener.formats.nouns import noun

with lazy_imports():
    from listener.emulator.mps import sample_callbacks
    from listener.formats import callback, member_paths, user_data, wrapping
    from listener.jobs import request as requests
    from listener.rules import verification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from listener.client import Client
    from listener.core.model import Job, Result
    from listener.emulator.mps.sample_callbacks import SampleCallback
    from listener.settings.sections import QueueSettings, Settings

#: As ``listener.formats.wrapping`` has them; it is not imported for the help.
WRAPPINGS: Final = ("base64", "raw", "topic-xml", "topic-json", "simplified")
#: Options that have no effect beside ``--job``, which says all of this.
OF_UNKNOWN_JOBS: Final = ("job_id", "function", "route", "data", "user_data", "early")
#: Before the path of a member that is to be added.
ADDS: Final = "+"
#: How many ids of jobs are printed.
SHOWN_IDS: Final = 5

#: What becomes of a callback whose id is a new one, if MPS is asked.
_NOT_KNOWN: Final = (
    'which does not know it, and quarantines the callback; to have it handled, set correlation.verify = "never" on a '
    "test machine, or name a job of MPS by --job-id"
)

EPILOG = """\b
Examples:
  mns-listener trigger --list
  mns-listener trigger iproduction.success --function Cover --route covers
  mns-listener trigger snapshot.fail --data '{"article": 7}' --wrap topic-xml
  mns-listener trigger transcode.success --job talk-7 --duplicate 1
  mns-listener trigger workflow.report --set MediaWorkflowExecution.Name=publish
  mns-listener trigger iproduction.success --count 1000 --rate 50
  mns-listener trigger ims.event --print --wrap raw

The callback has the form in which MPS sends it. --set changes any member, e.g.
--set State=Cancelled; its value is JSON where it can be read as JSON, and
--set +Progress=7 adds a member that the callback does not have. A queue on another
machine is only used after a question, since its consumers cannot tell this
message from one of MPS. Where the settings ask MPS about callbacks
(correlation.verify), the daemon records what MPS says instead, and quarantines the
callback of a job that MPS does not know, such as one with a new id.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What the command line asks for."""

    name: str
    queue_name: str
    function: str
    route: str
    data: str
    user_data: str | None
    job_id: str
    job: str
    changes: tuple[tuple[str, Any], ...]
    wrap: str
    early: bool
    duplicate: int
    count: int
    rate: float | None
    prints: bool
    yes: bool

    @property
    def messages(self) -> int:
        return self.count * (1 + self.duplicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """One callback, ready to be sent."""

    id: str
    user_data: str
    result: Result | None  #: what a daemon would read from it; None: it would quarantine it
    body: str


def _changes(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Any:
    pairs = [item.partition("=") for item in given]
    if wrong := [path + value for path, equals, value in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]!r} is not valid; use PATH=VALUE, e.g. State=Cancelled")
    return tuple((path, member_paths.json_or_text(value)) for path, _, value in pairs)


@click.command(epilog=EPILOG)
@click.argument("name", metavar="[KIND.STATE]", default="", shell_complete=completing.callbacks)
@click.option("--list", "lists", is_flag=True, help="List the kinds and states, and send nothing.")
@click.option(
    "--function",
    default="",
    shell_complete=completing.functions,
    help="Function of smart production.  [default: Cover]",
)
@click.option(
    "--route",
    default="",
    shell_complete=completing.wanted_routes,
    help="Name this route in the user data, as submit does.",
)
@click.option("--data", default="", help="User data for the handler: text, or a JSON object.")
@click.option("--user-data", default=None, help="Complete user data, instead of --route and --data.")
@click.option(
    "--job-id", default="", help="Id of the job, or of the run of a workflow.  [default: a new one]"
)
@click.option(
    "--job",
    default="",
    shell_complete=completing.jobs,
    help="A job of the store, by id, reference or token: use its id and user data.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_changes,
    help="Change a member, or add one: +PATH=VALUE; repeatable.",
)
@click.option(
    "--wrap",
    type=click.Choice(WRAPPINGS),
    default=WRAPPINGS[0],
    show_default=True,
    help="What the callback travels in; the last three are the formats of a topic.",
)
@click.option(
    "--early",
    is_flag=True,
    help="Register the job in the store after its callback was sent. With a new id, the callback is only handled if "
    "correlation.verify is never.",
)
@click.option(
    "--duplicate",
    type=click.IntRange(0, 1000),
    default=0,
    help="Send so many further copies of each.  [default: 0]",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Callbacks of so many jobs.",
)
@click.option("--print", "prints", is_flag=True, help="Print the messages, and send nothing.")
@sending_options
@config_option
@json_option
def trigger(*, lists: bool, path: Path | None, as_json: bool, **options: Any) -> None:
    """Send a made-up callback of any kind and state to a queue.

    KIND.STATE is, for example, iproduction.success or transcode.fail; --list shows all.
    """
    if lists:
        _list(as_json=as_json)
        return
    asked = Trigger(**options)
    sample = _sample(asked.name)
    _check_together(asked, sample)
    print_warnings(requests.function_warnings(asked.function) if asked.function else [])
    settings = settings_from(path)
    if asked.job:
        with opened_client(settings, create=False, read_only=True) as client:
            job = find_job(client, asked.job)
        _carry_out(asked, sample, settings, job=job, register=None, as_json=as_json)
    elif asked.early and not asked.prints:
        with opened_client(settings) as client:
            register = _registrar(client, sample)
            _carry_out(asked, sample, settings, job=None, register=register, as_json=as_json)
    else:
        _carry_out(asked, sample, settings, job=None, register=None, as_json=as_json)


def _list(*, as_json: bool) -> None:
    found = [(each.name, each.about) for each in sample_callbacks.SAMPLE_CALLBACKS.values()]
    if as_json:
        print_json([{"name": name, "about": about} for name, about in found])
    else:
        print_table(("name", "a callback that says"), found, empty="none", whole=("name",))


def _sample(name: str) -> SampleCallback:
    known = sample_callbacks.SAMPLE_CALLBACKS
    if name.lower() in known:
        return known[name.lower()]
    if not name:
        raise UsageError("specify a KIND.STATE, e.g. iproduction.success; --list shows all")
    near = difflib.get_close_matches(name.lower(), known, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{name!r} is not a KIND.STATE of a callback{guess}; --list shows all")


def _check_together(asked: Trigger, sample: SampleCallback) -> None:
    """Reject options that have no effect together, instead of ignoring them."""
    given = [name for name in OF_UNKNOWN_JOBS if getattr(asked, name)]
    if asked.job and given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} has no effect with --job, whose job says it; omit one"
        )
    if asked.count > 1 and (asked.job or asked.job_id):
        raise UsageError("--count sends callbacks of different jobs; use --duplicate for copies of one")
    if asked.user_data is not None and (asked.route or asked.data):
        raise UsageError("--user-data is the complete user data; omit --route and --data")
    if asked.function and not sample.has_function:
        raise UsageError(f"--function belongs to iproduction and ims, not to {sample.name}; omit it")


def _carry_out(
    asked: Trigger,
    sample: SampleCallback,
    settings: Settings,
    *,
    job: Job | None,
    register: Callable[[MadeUp], None] | None,
    as_json: bool,
) -> None:
    made_up = (_made_up(asked, sample, job) for _ in range(asked.count))
    if asked.prints:
        bodies = (each.body for each in made_up for _ in range(1 + asked.duplicate))
        print_json(list(bodies)) if as_json else click.echo("\n".join(bodies))
        return
    queue = chosen_queue(settings, asked.queue_name)
    confirm_queue(queue, messages=asked.messages, yes=asked.yes)
    first = next(made_up)
    print_warnings(_warnings(asked, sample, settings, queue, job=job, result=first.result))
    ids: list[str] = []
    with sender(settings, queue, messages=asked.messages, rate=asked.rate) as send:
        for each in chain([first], made_up):
            for _ in range(1 + asked.duplicate):
                send(each.body)
            if register:
                register(each)
            ids.append(each.id)
    _report(asked, sample, queue, ids, as_json=as_json)


def _made_up(asked: Trigger, sample: SampleCallback, job: Job | None) -> MadeUp:
    """Raises UsageError."""
    given, now = _user_data(asked, job), clock.now()
    subject = sample_callbacks.Subject(
        id=(job.job_id if job else asked.job_id) or secrets.token_hex(16),
        user_data=user_data.embed_token(given, job.token) if job else given,
        function=job.function if job and sample.has_function else asked.function,
        pipeline=job.pipeline if job else "",
        at=now,
    )
    document = sample.build(subject)
    for given_path, value in asked.changes:
        path = given_path.removeprefix(ADDS)
        if path == given_path and (missing := member_paths.missing_member(document, path)):
            raise UsageError(f"--set: {missing}", hint=f"to add it, write --set {ADDS}{path}=…")
        try:
            document = member_paths.with_member(document, path, value)
        except ValueError as error:
            raise UsageError(f"--set: {error}") from error
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return MadeUp(
        id=subject.id, user_data=given, result=_read(text), body=wrapping.wrapped(text, asked.wrap, at=now)
    )


def _user_data(asked: Trigger, job: Job | None) -> str:
    """Without our token."""
    if job:
        return job.user_data or ""
    if asked.user_data is not None:
        return asked.user_data
    return requests.compose_user_data(asked.route, asked.data) or ""


def _read(text: str) -> Result | None:
    try:
        return callback.decode(text)
    except Undecodable:  # by --set
        return None


def _registrar(client: Client, sample: SampleCallback) -> Callable[[MadeUp], None]:
    """Registers the job of a callback, as it might have been submitted by others."""
    kind = sample.kind.name if sample.kind else ""

    def register(made_up: MadeUp) -> None:
        function = made_up.result.function if made_up.result and sample.kind == job_kinds.IPRODUCTION else ""
        client.register(made_up.id, kind=kind, function=function, user_data=made_up.user_data or None)

    return register


def _warnings(
    asked: Trigger,
    sample: SampleCallback,
    settings: Settings,
    queue: QueueSettings,
    *,
    job: Job | None,
    result: Result | None,
) -> Iterator[str]:
    """Why the daemon may record something else than the callback says."""
    if result is None:
        yield "because of --set, this is no longer a callback: the daemon will quarantine it"
        return
    if job and sample.kind and job.kind and job.kind != sample.kind.name:
        yield f"the kind of the job is {job.kind}, that of the callback {sample.kind.name}"
    rules = settings.correlation_rules().verification
    known = job is not None or asked.early
    policies = (verification.VerifyPolicy.ALWAYS, *([verification.VerifyPolicy.KNOWN] if known else []))
    is_verified = rules.policy in policies and (job.tenant if job else queue.tenant) in rules.tenants
    if is_verified and sample.kind and result.terminal:
        asks = f"correlation.verify = {str(rules.policy)!r}: a daemon with these settings asks MPS about the job, "
        yield asks + ("and records what MPS says" if job or asked.job_id else _NOT_KNOWN)


def _report(
    asked: Trigger, sample: SampleCallback, queue: QueueSettings, ids: Sequence[str], *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "name": sample.name,
                "queue": queue.queue,
                "endpoint": queue.endpoint,
                "sent": asked.messages,
                "jobs": ids,
            }
        )
        return
    copies = f" ({1 + asked.duplicate} copies of each)" if asked.duplicate else ""
    click.echo(f"sent {len(ids)} {sample.name}{copies} to the queue {queue.queue} at {queue.endpoint}")
    shown = ", ".join(ids[:SHOWN_IDS])
    more = f", … ({len(ids) - SHOWN_IDS} more; --json lists all)" if len(ids) > SHOWN_IDS else ""
    click.echo(f"{noun(len(ids), 'jobs')} {shown}{more}")
