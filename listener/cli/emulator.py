"""``mns-listener emulator`` and ``mns-emulator``: a local emulator of MNS and MPS on one port."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from listener.cli.output_file import output_file
from listener.core.errors import ListenerError
from listener.core.lazy_imports import lazy_imports
from listener.core.loopback import is_loopback

with lazy_imports():
    from listener.emulator import data_file, options, server
    from listener.emulator import faults as fault_files

if TYPE_CHECKING:
    from listener.emulator.faults import Fault
    from listener.emulator.options import Options
    from listener.emulator.server import RunningEmulator

EPILOG = """\b
Examples:
  {command}
  {command} --queue mps-callbacks
  {command} --port 0 --port-file /run/emulator.port
  {command} --job-seconds 0.2 --fail-rate 0.1 --seed 7
  {command} --duration VideoSplit=20 --duration Cover=0.5
  {command} --faults faults.toml --seed 7

\b
A faults file is TOML (or JSON) with one table per fault:
  [[fault]]
  kind = "stall"                  # see below
  operation = "*Receive*"         # also: service, queue, topic, function
  probability = 0.05              # also: every, skip, count, start, stop

Kinds for requests: latency, stall, reset, hang-up, drop-reply, truncate, unasked,
error, throttle, reject-signature, clock-skew, expire-handles, empty-poll, early.
Kinds for callbacks, and for what topics push: drop, duplicate, late, reorder, garble.
Some kinds have parameters: seconds, status, body (xml, html, empty), keep, copies, after.

Without --data, all state is lost when the emulator stops. The pipeline
88c6ca184c0e47b2a17a1b6ef2c6a1f0 exists from the start. A job whose Input is an
object with "fail" in its key ends in state Fail. GET /_emulator/state shows queues,
topics, jobs and counts; /_emulator/faults shows the faults and how often each occurred.
"""


class EmulatorCommand(click.Command):
    """The command, of whose two names the examples in its help have the one that was used."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(EPILOG.replace("{command}", ctx.command_path))


def _durations(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    durations = {}
    for item in given:
        name, _, seconds = item.partition("=")
        try:
            durations[name] = float(seconds)
        except ValueError as error:
            raise click.BadParameter(f"{item} is not valid; use NAME=SECONDS, e.g. Cover=0.5") from error
    return durations


def _faults(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[Fault, ...]:
    if path is None:
        return ()
    try:
        return tuple(fault_files.read(path))
    except fault_files.FaultError as error:
        raise click.BadParameter(str(error)) from error


@click.command(cls=EmulatorCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=int,
    default=8470,
    show_default=True,
    help="Port to listen on; 0 picks a free port.",
)
@click.option(
    "--port-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the port to this file once the emulator accepts connections.",
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="Create this queue at startup; repeatable.",
)
@click.option(
    "--access-key-id",
    default="testKeyId",
    show_default=True,
    help="The only access key id that is accepted.",
)
@click.option(
    "--access-key-secret",
    default="testKeySecret",
    show_default=True,
    help="The secret of that key.",
)
@click.option(
    "--job-seconds",
    type=float,
    default=1.0,
    show_default=True,
    help="Duration of a job in seconds.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the state in this folder; without it, it is lost when the emulator stops.",
)
@click.option(
    "--time-scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds that pass in each second: 3600 is an hour a second.",
)
@click.option(
    "--fail-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Fraction of jobs that fail.",
)
@click.option(
    "--duration",
    "durations",
    multiple=True,
    metavar="NAME=SECONDS",
    callback=_durations,
    help="Duration of the jobs of one function or kind; repeatable.",
)
@click.option(
    "--lost-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Fraction of callbacks that are never sent.",
)
@click.option(
    "--unknown-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Fraction of jobs that queries do not find.",
)
@click.option(
    "--calls-per-second",
    type=int,
    default=100,
    show_default=True,
    help="Rate limit for each MPS API action; 0 means no limit.",
)
@click.option(
    "--lenient-handles", is_flag=True, help="Keep old receipt handles valid after ChangeMessageVisibility."
)
@click.option(
    "--text-to-speech-callback/--no-text-to-speech-callback",
    default=True,
    show_default=True,
    help="Whether TextToSpeech, whose outcome is in the reply to its submission, also sends a callback.",
)
@click.option(
    "--malformed",
    is_flag=True,
    help="Return query results in the ill-formed variants that the MPS documentation shows.",
)
@click.option(
    "--nested-notify",
    is_flag=True,
    help="Nest the members of FpShot and MediaCensor callbacks in a Notify member.",
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_faults,
    help="Inject the faults that this file defines.",
)
@click.option("--seed", type=int, help="Seed for reproducible ids, failures and faults.")
@click.option("--allow-remote", is_flag=True, help="Allow a --host that other machines can reach.")
@click.version_option(package_name="mns-listener")
def emulator(*, host: str, port_file: Path | None, allow_remote: bool, **settings: Any) -> None:
    """Run a local emulator of MNS and MPS.

    One port serves both services. Point MNS clients at http://HOST:PORT, and MPS clients at the endpoint HOST:PORT with
    the protocol http.
    """
    if not allow_remote and not is_loopback(host):
        raise _refusal(
            "host", f"{host} can be reached from other machines; use 127.0.0.1, or add --allow-remote"
        )
    chosen = _chosen({"host": host, **settings})
    # Blocked before the server's thread starts, so that only the sigwait below receives them.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with server.running(chosen) as running:
            _print_address(running, port_file)
            signal.sigwait(signals)
    except fault_files.FaultError as error:
        raise _refusal("faults", str(error)) from error
    except data_file.DataError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{settings['port']}: {error.strerror}; choose another --host or --port"
        ) from error


def _chosen(settings: dict[str, Any]) -> Options:
    try:
        return options.Options(**settings)
    except options.OptionError as error:
        raise _refusal(error.option, error.reason) from error


def _refusal(name: str, reason: str) -> click.BadParameter:
    parameters = {each.name: each for each in emulator.params}
    return click.BadParameter(reason, param=parameters[name])


def main() -> None:
    """The program ``mns-emulator``, which needs nothing of the daemon."""
    try:
        emulator.main(prog_name="mns-emulator")
    except ListenerError as error:  # a port file that cannot be written; said as `mns-listener` does
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def _print_address(running: RunningEmulator, port_file: Path | None) -> None:
    key = running.emulator.options.access_key_id
    click.echo(
        f"MNS and MPS emulator on {running.url} (MNS endpoint {running.url}, "
        f"MPS endpoint {running.url.removeprefix('http://')} with protocol http, access key {key})"
    )
    if port_file:
        with output_file(port_file) as file:
            file.write(f"{running.port}\n")
