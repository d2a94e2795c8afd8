"""``mns-listener run``: the daemon itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from listener.cli.common import config_option, settings_from
from listener.cli.options import log_level, log_level_options
from listener.core import clock
from listener.core.errors import ListenerError, StopTimedOut
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports
from listener.core.logger import get_logger
from listener.runtime.garbage_collection import leave_out_present_objects
from listener.runtime.open_files import raise_open_file_limit
from listener.runtime.orphans import reap_orphans
from listener.runtime.output import Output, background_output
from listener.runtime.signals import RELOAD_SIGNAL, STOP_SIGNALS, Signals, collected_signals
from listener.runtime.systemd import Watchdog, notify

with lazy_imports():
    from listener.daemon import daemon as daemon_module
    from listener.runtime import log_setup

if TYPE_CHECKING:
    from listener.daemon.daemon import Daemon
    from listener.settings.sections import Settings

log = get_logger("listener")

#: How often the main thread looks around: it feeds the watchdog, and watches for the end of a drain.
TICK = timedelta(seconds=1)
DRAIN_TICK = timedelta(milliseconds=100)
#: How much longer than its own limit a stop may take, before the process ends without it.
STOP_MARGIN = timedelta(seconds=2)
#: How soon the end of a stop is noticed.
STOP_TICK = timedelta(milliseconds=20)

EPILOG = """\b
Examples:
  mns-listener run -c listener.toml
  mns-listener run -c listener.toml --drain
  MNS_LISTENER_LOG__LEVEL=debug mns-listener run

SIGTERM or SIGINT stops the daemon: it receives no more messages, lets handlers finish
within service.shutdown_timeout, and returns the rest to pending. A second signal
terminates it immediately. SIGHUP reloads routes, retry and correlation from the
settings file, and log.level unless an option has set it; other settings require
a restart.

Exit status with --drain: 3 if deliveries are left whose routes or handlers are not in
the settings.
"""


@click.command(epilog=EPILOG)
@config_option
@log_level_options
@click.option("--drain", is_flag=True, help="Exit once all queues are empty and all deliveries are settled.")
@click.pass_context
def run(ctx: click.Context, *, path: Path | None, drain: bool) -> None:
    """Run the daemon: receive callbacks and call handlers."""
    load = partial(_settings, path, log_level(ctx))
    settings = load()
    # Until the whole command line ends: what it says about an error must not block the exit.
    output = ctx.find_root().with_resource(background_output())
    log_setup.configure(level=settings.log.level, format=settings.log.format)
    raise_open_file_limit()
    with collected_signals() as signals:
        daemon = daemon_module.Daemon(settings, drain=drain, lines_dropped=output.lines_dropped)
        _serve(daemon, signals, output, load=load, drain=drain)


def _settings(path: Path | None, level: str | None) -> Settings:
    """The settings, but with this log level if there is one. Raises SettingsError."""
    settings = settings_from(path)
    if level is None:
        return settings
    return settings.model_copy(update={"log": settings.log.model_copy(update={"level": level})})


def _serve(
    daemon: Daemon, signals: Signals, output: Output, *, load: Callable[[], Settings], drain: bool
) -> None:
    daemon.start()
    leave_out_present_objects()
    log.info("listener.started", **daemon.describe())
    try:
        _watch(daemon, signals, reload=lambda: _reload(daemon, load), drain=drain)
    finally:
        log.info("listener.stopping")
        log.info("listener.stopped", **_stopped(daemon, signals, output))


def _watch(daemon: Daemon, signals: Signals, *, reload: Callable[[], None], drain: bool) -> None:
    """Until a stop signal, or until everything is drained."""
    watchdog = Watchdog(daemon.liveness)
    while (number := signals.wait(DRAIN_TICK if drain else watchdog.tick(TICK))) not in STOP_SIGNALS:
        if number == RELOAD_SIGNAL:
            reload()
        daemon.check_store()
        watchdog.feed()
        reap_orphans()
        if drain and daemon.drained():
            return


def _reload(daemon: Daemon, load: Callable[[], Settings]) -> None:
    """Reload the settings; invalid ones are logged and change nothing."""
    try:
        settings = load()
        needs_restart = daemon.reload(settings)
        log_setup.set_level(settings.log.level)
        if needs_restart:
            log.warning("settings.reloaded", needs_restart=needs_restart)
        else:
            log.info("settings.reloaded", needs_restart=needs_restart)
    except ListenerError as error:
        log.error("config.reload_failed", error="; ".join(str(error).splitlines()))


def _stopped(daemon: Daemon, signals: Signals, output: Output) -> dict[str, int]:
    """Stop gracefully; another signal, or a part that hangs, ends the process. Raises what stopping raised."""
    notify("STOPPING=1")
    counts: Future[dict[str, int]] = Future()
    threading.Thread(target=_resolve, args=(counts, daemon.stop), name="stop", daemon=True).start()
    limit = clock.monotonic() + (daemon.stop_timeout + STOP_MARGIN).total_seconds()
    while not counts.done():
        if signals.wait(STOP_TICK) in STOP_SIGNALS:
            click.echo(
                "second signal: terminating now; unfinished deliveries are retried when their leases expire",
                err=True,
            )
            _exit_now(ExitCode.FAILED, output)
        if clock.monotonic() > limit:
            _exit_without(StopTimedOut(["stop"]), output)
    try:
        return counts.result()
    except StopTimedOut as error:
        _exit_without(error, output)


def _exit_without(error: StopTimedOut, output: Output) -> NoReturn:
    """Leave the threads that hang behind; the interpreter's own exit might wait for them."""
    log.error("stop.timed_out", hung=list(error.hung))
    _exit_now(error.exit_code, output)


def _exit_now(status: ExitCode, output: Output) -> NoReturn:
    output.finish()
    os._exit(status)


def _resolve(counts: Future[dict[str, int]], stop: Callable[[], dict[str, int]]) -> None:
    """An error while stopping must reach the main thread, and so the exit status."""
    try:
        counts.set_result(stop())
    except BaseException as error:
        counts.set_exception(error)
