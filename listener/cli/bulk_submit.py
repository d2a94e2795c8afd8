"""``mns-listener submit --from``: submit each line of a file, show the progress and write the report."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

import click

from listener.cli.common import print_json
from listener.cli.interrupt import Interrupt
from listener.client import mps_not_configured
from listener.core.errors import Interrupted, UsageError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports
from listener.formats.lenient_json import render
from listener.formats.unicode_text import visible
from listener.jobs.bulk_submission import LineOutcome, csv_lines, jsonl_lines, submit_all

with lazy_imports():
    from listener.cli import progress

if TYPE_CHECKING:
    from listener.client import Client
    from listener.jobs.bulk_submission import LineReport

#: Options for all lines that do not say otherwise. Those that may be empty have a default in the settings.
DEFAULTS: Final = ("route", "params", "function", "kind", "model", "schedule_params", "force")
MAY_BE_EMPTY: Final = ("pipeline", "notify_url")
#: How many warnings are printed; all of them are in the report.
PRINTED_WARNINGS: Final = 20
#: The outcomes of lines that were not submitted, although they should have been.
WRONG: Final = (LineOutcome.EXISTING, LineOutcome.INVALID, LineOutcome.FAILED)
#: The format of a file without --format.
FORMATS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", "": "jsonl", ".csv": "csv"}
GO_ON: Final = "run the same command with --resume to go on: it skips what was submitted"


def submit_file(client: Client, options: dict[str, Any], *, as_json: bool) -> ExitCode:
    """Submit each line; return exit status 1 unless all were submitted or skipped.

    Raises UsageError or SettingsError before it submits anything, and Interrupted after SIGINT.
    """
    form = options["form"] or _form_of(options["source"].name)
    if not client.settings.tenant(options["tenant"]).mps.configured:
        raise mps_not_configured()
    tally = _Tally(each_existing=as_json)
    interrupt = Interrupt()
    with _opened_report(options["report"], options["source"]) as report_file:
        try:
            with _progress(quiet=as_json) as report_progress, interrupt.handled():
                for report in _reports(client, options, form, interrupt):
                    tally.add(report)
                    _write_report(report, report_file)
                    report_progress(report)
        except KeyboardInterrupt:
            _leave()
    print_json(tally.summary) if as_json else click.echo(tally.text)
    tally.explain_warnings()
    tally.explain_existing()
    if interrupt.came:
        raise Interrupted(f"interrupted; {GO_ON}")
    return tally.exit_status


def _form_of(name: str) -> str:
    """By the extension; standard input and other files without one are JSON lines. Raises UsageError."""
    extension = Path(name).suffix.lower()
    if extension not in FORMATS:
        raise UsageError(
            f"--from {name}: {extension!r} is not a known extension; use a .jsonl or .csv file, or say with "
            "--format which of these two formats it has"
        )
    return FORMATS[extension]


def _reports(
    client: Client, options: dict[str, Any], form: str, interrupt: Interrupt
) -> Iterator[LineReport]:
    return submit_all(
        interrupt.until(_lines(options, form)),
        submit=lambda request, warn: client.submit(request, tenant=options["tenant"], warn=warn),
        store=client.store,
        resume=options["resume"],
        concurrency=options["concurrency"],
    )


def _leave() -> NoReturn:
    """End the process without waiting for calls under way; the interpreter's own exit would."""
    click.echo(f"Error: interrupted; calls under way were abandoned; {GO_ON}", err=True)
    sys.stdout.flush()
    os._exit(Interrupted.exit_code)


def _lines(options: dict[str, Any], form: str) -> Iterator[Any]:
    source: IO[str] = options["source"]
    read = csv_lines if form == "csv" else jsonl_lines
    defaults = {name: options[name] for name in MAY_BE_EMPTY if options[name] is not None}
    defaults |= {name: options[name] for name in DEFAULTS if options[name]}
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


class _Tally:
    """Counts the lines by outcome, and prints those that went wrong, each with its reason."""

    def __init__(self, *, each_existing: bool) -> None:
        """``each_existing``: whether lines with an existing reference are printed one by one as well."""
        self._each_existing = each_existing
        self._counts: Counter[LineOutcome] = Counter()
        self._warned = self._warnings = 0
        self._first_existing: LineReport | None = None

    def add(self, report: LineReport) -> None:
        self._counts[report.outcome] += 1
        existing = report.outcome is LineOutcome.EXISTING
        if existing and self._first_existing is None:
            self._first_existing = report
        self._add_warnings(report)
        if report.outcome in WRONG and (self._each_existing or not existing):
            click.echo(visible(f"line {report.line}: {report.outcome}: {report.reason}"), err=True)

    def _add_warnings(self, report: LineReport) -> None:
        self._warned += bool(report.warnings)
        for text in report.warnings:
            self._warnings += 1
            if self._warnings <= PRINTED_WARNINGS:
                click.echo(visible(f"line {report.line}: warning: {text}"), err=True)

    def explain_warnings(self) -> None:
        """How many were not printed: a mistake of the program that wrote the file is in each of its lines."""
        if (more := self._warnings - PRINTED_WARNINGS) > 0:
            click.echo(f"{more} more warnings are not printed; --report FILE has all of them", err=True)

    def explain_existing(self) -> None:
        """Usually the whole file was submitted before: then thousands of lines have one reason and one way out."""
        if self._first_existing is None:
            return
        count, first = self._counts[LineOutcome.EXISTING], self._first_existing
        click.echo(
            visible(
                f"Not sent because the reference exists already: {count} (first: line {first.line}, "
                f"{first.reference!r}). Use --resume to skip what was submitted before."
            ),
            err=True,
        )

    @property
    def summary(self) -> dict[str, int]:
        """How many lines had each outcome, and how many of all lines had warnings."""
        counts = {str(outcome): self._counts[outcome] for outcome in LineOutcome}
        return counts | {"warned": self._warned}

    @property
    def text(self) -> str:
        counts = [f"{self._counts[outcome]} {outcome}" for outcome in LineOutcome]
        return ", ".join(counts + ([f"{self._warned} with warnings"] if self._warned else []))

    @property
    def exit_status(self) -> ExitCode:
        return ExitCode.FAILED if any(self._counts[outcome] for outcome in WRONG) else ExitCode.OK


def _write_report(report: LineReport, file: IO[str] | None) -> None:
    if file is not None:
        file.write(render(asdict(report)) + "\n")
        file.flush()  # so that it is complete up to here, however this process ends


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[LineReport], None]]:
    """A running count on a terminal; nothing if standard error is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda report: None
        return
    with progress.counter("lines") as count:
        yield lambda report: count()
