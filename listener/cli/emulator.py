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
    from listener.emulator.serve import RunningEmulator

EPILOG = """\b
Examples:
  mns-listener emulator
  mns-listener emulator --port 0 --port-file /run/emulator.port
  mns-listener emulator --job-seconds 0.2 --fail-rate 0.1 --seed 7

Everything lives in memory and is gone when the emulator stops. The pipeline
88c6ca184c0e47b2a17a1b6ef2c6a1f0 is there from the start. A job whose Input names
an object with "fail" in its key ends in Fail. GET /_emulator/state shows queues,
jobs and counts.
"""


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
@click.option("--access-key-id", default="testKeyId", show_default=True, help="The one key that is accepted.")
@click.option("--access-key-secret", default="testKeySecret", show_default=True, help="Its secret.")
@click.option(
    "--job-seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="How long a job runs."
)
@click.option(
    "--fail-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of jobs that fail.",
)
@click.option("--seed", type=int, help="Repeat the same ids and failures.")
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
    from listener.emulator.serve import running

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
