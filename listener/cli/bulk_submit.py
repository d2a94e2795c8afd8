"""``mns-listener submit --from``: submit each line of a file, show the progress and write the report."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from listener.cli.common import print_json
from listener.core.errors import UsageError
from listener.formats.lenient_json import render
from listener.formats.unicode_text import visible
from listener.jobs.bulk_submission import LineOutcome, csv_lines, jsonl_lines, submit_all

if TYPE_CHECKING:
    from listener.client import Client
    from listener.jobs.bulk_submission import LineReport


def submit_file(client: Client, options: dict[str, Any], *, as_json: bool) -> int:
    """Submit each line; return exit status 1 if any line was invalid or failed.

    Raises UsageError or SettingsError before it submits anything.
    """
    client.require_mps(tenant=options["tenant"])
    counts: Counter[str] = Counter()
    reports = submit_all(
        _lines(options),
        submit=lambda request: client.submit(request, tenant=options["tenant"]),
        store=client.store,
        resume=options["resume"],
        concurrency=options["concurrency"],
    )
    with (
        _opened_report(options["report"], options["source"]) as report_file,
        _progress(quiet=as_json) as report_progress,
    ):
        for report in reports:
            counts[report.outcome] += 1
            _write_report(report, report_file)
            report_progress(report)
    summary = {str(outcome): counts[outcome] for outcome in LineOutcome}
    text = ", ".join(f"{count} {name}" for name, count in summary.items())
    print_json(summary) if as_json else click.echo(text)
    return 1 if counts[LineOutcome.INVALID] or counts[LineOutcome.FAILED] else 0


def _lines(options: dict[str, Any]) -> Iterator[Any]:
    source: IO[str] = options["source"]
    form = options["form"] or ("csv" if source.name.endswith(".csv") else "jsonl")
    read = csv_lines if form == "csv" else jsonl_lines
    names = ("pipeline", "notify_url", "route", "params", "function", "model", "schedule_params")
    defaults = {name: options[name] for name in names if options[name]}
    return read(source, source=Path(source.name).name, defaults=defaults)


@contextmanager
def _opened_report(path: Path | None, source: IO[str]) -> Iterator[IO[str] | None]:
    """The file of ``--report``, emptied. Raises UsageError if it cannot be written, or is the one with the requests."""
    if path is None:
        yield None
        return
    if path.exists() and Path(source.name).exists() and path.samefile(source.name):
        raise UsageError(f"--report would overwrite the requests in {source.name}; choose another file")
    try:
        file = click.open_file(str(path), "w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--report: cannot write to {str(path)!r}: {error.strerror}") from error
    with file:
        yield file


def _write_report(report: LineReport, file: IO[str] | None) -> None:
    if file is not None:
        file.write(render(asdict(report)) + "\n")
        file.flush()  # so that it is complete up to here, however this process ends
    if report.outcome in (LineOutcome.INVALID, LineOutcome.FAILED):
        click.echo(visible(f"line {report.line}: {report.outcome}: {report.reason}"), err=True)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[LineReport], None]]:
    """A running count on a terminal; nothing if standard error is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda report: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} lines"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("lines", total=None)
        yield lambda report: progress.advance(bar)
