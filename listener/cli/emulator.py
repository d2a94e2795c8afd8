"""``mns-listener emulator``: the local stand-in for MNS and MPS on a port."""

from __future__ import annotations

import ipaddress
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from listener.emulator.faults import Fault
    from listener.emulator.server import RunningEmulator

EPILOG = """\b
Examples:
  mns-listener emulator
  mns-listener emulator --queue mps-callbacks
  mns-listener emulator --port 0 --port-file /run/emulator.port
  mns-listener emulator --job-seconds 0.2 --fail-rate 0.1 --seed 7
  mns-listener emulator --duration VideoSplit=20 --duration Cover=0.5
  mns-listener emulator --faults faults.toml --seed 7

\b
A file of faults is TOML (or JSON) with one table for each fault:
  [[fault]]
  kind = "stall"                  # see below
  operation = "*Receive*"         # also: service, queue, function
  probability = 0.05              # also: every, skip, count, start, stop
Kinds for requests: latency, stall, reset, hang-up, drop-reply, truncate, error,
throttle, reject-signature, clock-skew, expire-handles, empty-poll, early.
Kinds for callbacks: drop, duplicate, late, reorder, garble. Their own keys are
seconds, status, body (xml, html, empty), keep, copies and after.

\b
Everything lives in memory and is gone when the emulator stops. The pipeline
88c6ca184c0e47b2a17a1b6ef2c6a1f0 is there from the start. A job whose Input names
an object with "fail" in its key ends in Fail. GET /_emulator/state shows queues,
jobs and counts; /_emulator/faults shows the faults and how often each happened.
"""


RATE = click.FloatRange(0, 1)


def _durations(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    pairs = (item.partition("=") for item in given)
    try:
        return {function: float(seconds) for function, _, seconds in pairs}
    except ValueError as error:
        raise click.BadParameter(f"{', '.join(given)}: write FUNCTION=SECONDS, such as Cover=0.5") from error


def _queue_names(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from listener.emulator.mns.arguments import QUEUE_NAME, QUEUE_NAME_LENGTH

    for name in given:
        if not QUEUE_NAME.fullmatch(name) or len(name) > QUEUE_NAME_LENGTH:
            raise click.BadParameter(
                f"{name}: write letters, digits and hyphens, {QUEUE_NAME_LENGTH} at most, no hyphen first"
            )
    return given


def _faults(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[Fault, ...]:
    if path is None:
        return ()
    from listener.emulator.faults import FaultError, read

    try:
        return tuple(read(path))
    except FaultError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8470, show_default=True, help="0 takes a free port."
)
@click.option(
    "--port-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the port here once the emulator listens.",
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    callback=_queue_names,
    help="Create this queue at the start; may be given again.",
)
@click.option("--access-key-id", default="testKeyId", show_default=True, help="The one key that is accepted.")
@click.option("--access-key-secret", default="testKeySecret", show_default=True, help="Its secret.")
@click.option(
    "--job-seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="How long a job runs."
)
@click.option(
    "--fail-rate",
    type=RATE,
    default=0.0,
    show_default=True,
    help="Share of jobs that fail.",
)
@click.option(
    "--duration",
    "durations",
    multiple=True,
    metavar="FUNCTION=SECONDS",
    callback=_durations,
    help="How long jobs of one function run; may be given again.",
)
@click.option(
    "--lost-rate", type=RATE, default=0.0, show_default=True, help="Share of callbacks that are never sent."
)
@click.option(
    "--unknown-rate",
    type=RATE,
    default=0.0,
    show_default=True,
    help="Share of jobs that queries do not find.",
)
@click.option(
    "--calls-per-second",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Throttle each API action of MPS beyond this; 0 never does.",
)
@click.option(
    "--lenient-handles", is_flag=True, help="Keep old receipt handles valid after a change of visibility."
)
@click.option("--malformed", is_flag=True, help="Give query results in the documented ill-formed shapes.")
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_faults,
    help="Let things go wrong as this file says.",
)
@click.option("--seed", type=int, help="Repeat the same ids, failures and faults.")
@click.option("--allow-remote", is_flag=True, help="Let --host be an address that other machines can reach.")
def emulator(*, host: str, port_file: Path | None, allow_remote: bool, **settings: Any) -> None:
    """Run a local emulator of the MNS queue service and the MPS job service.

    One port serves both. Point MNS clients at http://HOST:PORT and MPS clients at the endpoint HOST:PORT with the
    protocol http.
    """
    if not allow_remote and not _is_loopback(host):
        raise click.BadParameter(
            f"{host} can be reached from other machines; use 127.0.0.1, or say --allow-remote",
            param_hint="--host",
        )
    from listener.emulator.options import Options
    from listener.emulator.server import running

    # Blocked before the server's thread starts, so that only the wait below ever sees them.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with running(Options(host=host, **settings)) as server:
            _announce(server, port_file)
            signal.sigwait(signals)
    except OSError as error:
        raise click.ClickException(f"can't listen on {host}:{settings['port']}: {error.strerror}") from error


def _announce(server: RunningEmulator, port_file: Path | None) -> None:
    key = server.emulator.options.access_key_id
    click.echo(
        f"MNS and MPS emulator on {server.url} (MNS endpoint {server.url}, "
        f"MPS endpoint {server.url.removeprefix('http://')} with protocol http, access key {key})"
    )
    if port_file:
        _write_whole(port_file, f"{server.port}\n")


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file finds it either missing or complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
