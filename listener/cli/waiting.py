"""Waiting for the outcomes of jobs, with a warning while no daemon runs that could record them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from listener.cli.names import find_job
from listener.core import clock
from listener.core.errors import UsageError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports
from listener.core.model import JobState
from listener.formats.unicode_text import visible

with lazy_imports():
    from listener.formats import durations
    from listener.store import daemons

if TYPE_CHECKING:
    from listener.client import Client
    from listener.core.model import Job

#: How often to look whether a daemon runs.
LOOK_INTERVAL: Final = timedelta(seconds=5)


def limit_of(timeout: str) -> timedelta | None:
    """The value of ``--timeout``; None if it is empty. Raises UsageError."""
    try:
        return durations.parse_duration(timeout) if timeout else None
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error


def wait_for(client: Client, names: Sequence[str], limit: timedelta | None) -> tuple[list[Job], ExitCode]:
    """Wait for all of these jobs, for ``limit`` altogether; returns them, in this order, with the exit status.

    Raises NotFound before it waits if one of the names is unknown.
    """
    jobs = [find_job(client, name) for name in names]
    deadline = None if limit is None else clock.monotonic() + limit.total_seconds()
    watch = _DaemonWatch(client)
    ended = [_wait(client, job, deadline, watch) for job in jobs]
    late = [name for name, job in zip(names, ended, strict=True) if job.finished_at is None]
    if late and limit is not None:
        named = visible(", ".join(late))
        click.echo(
            f"Error: timed out waiting for {named}: no outcome within {limit.total_seconds():g} s", err=True
        )
    return ended, max(map(_status, ended))


def _wait(client: Client, job: Job, deadline: float | None, watch: _DaemonWatch) -> Job:
    """The job once it has ended, or as it is at the deadline."""
    # First without waiting: if the job has ended, it does not matter whether a daemon runs.
    pause = timedelta(0)
    while True:
        left = _time_left(deadline)
        try:
            return client.wait(job, timeout=min(pause, left))
        except TimeoutError:
            watch.look()
        if not left:
            return client.find(job.token)
        pause = LOOK_INTERVAL


def _time_left(deadline: float | None) -> timedelta:
    return timedelta.max if deadline is None else timedelta(seconds=max(0.0, deadline - clock.monotonic()))


def _status(job: Job) -> ExitCode:
    if job.finished_at is None:
        return ExitCode.TIMED_OUT
    return ExitCode.OK if job.state == JobState.SUCCESS else ExitCode.FAILED


class _DaemonWatch:
    """Warns once for each time that no daemon runs."""

    def __init__(self, client: Client) -> None:
        self._store = client.store.database.display_url
        self._daemons = daemons.Daemons(client.store.database)
        self._missing = False

    def look(self) -> None:
        missing = not self._daemons.running(clock.now())
        if missing and not self._missing:
            click.echo(
                f"Warning: no daemon is running on the store {self._store}; start one with `mns-listener run`, "
                "since only a daemon records outcomes",
                err=True,
            )
        self._missing = missing
