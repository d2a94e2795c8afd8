"""``mns-listener demo``: an end-to-end run on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from listener.cli.common import json_option, print_fields, print_json, print_table
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.cli import outputs_text, progress
    from listener.demo import sandbox

if TYPE_CHECKING:
    from listener.demo.sandbox import DemoReport, JobReport

#: The functions of which the outputs are shown.
EXAMPLES_OF_OUTPUTS: Final = ("Cover", "CaptionExtraction", "VideoSplit")

EPILOG = """\b
Examples:
  mns-listener demo
  mns-listener demo --jobs 200 --json
  mns-listener demo --keep ./demo

Starts an emulator of MNS and MPS, submits jobs through the official SDK, injects
duplicate, early, late, topic-wrapped and garbled callbacks, and runs the real daemon.
Needs no Alibaba Cloud account. Exit status: 0 if exactly one outcome of every job
reached the right handler, with its outputs if it succeeded, and every garbled
message is in quarantine, else 1.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--jobs",
    type=click.IntRange(1, 100_000),
    default=None,
    help="Submit this many jobs, cycling through the functions.  [default: one per function, and one that fails]",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Keep settings, store, log and results in this new or empty folder.",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, *, jobs: int | None, keep: Path | None, as_json: bool) -> None:
    """Run an end-to-end demo on this machine, without an account."""
    os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    for name in ("HTTP_PROXY", "http_proxy"):  # all calls go to loopback, and the SDK ignores NO_PROXY
        os.environ.pop(name, None)
    with _folder(keep) as folder, _progress(quiet=as_json) as report_progress:
        report = sandbox.run_demo(sandbox.make_jobs(jobs), folder=folder, report_progress=report_progress)
    if as_json:
        print_json(report.counts)
    else:
        _show(report, keep)
    ctx.exit(ExitCode.OK if report.correct else ExitCode.FAILED)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mns-listener-demo-") as name:
            yield Path(name)
        return
    if "?" in str(keep.absolute()):
        raise click.BadParameter(
            f"{keep} contains a ?, which would end the path in store.url; use another folder",
            param_hint="--keep",
        )
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise click.BadParameter(f"{keep} is not empty; use a new or empty folder", param_hint="--keep")
    yield keep.absolute()


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on a terminal; nothing if standard error is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    with progress.bars("submitted", "handled") as report_progress:
        yield report_progress


def _show(report: DemoReport, keep: Path | None) -> None:
    rows = [_row(job_report) for job_report in report.job_reports]
    print_table(
        ("job", "function", "user data", "fault", "route", "handler", "outcome", "outputs"),
        rows,
        empty="no jobs",
        whole=("job",),
    )
    _show_outputs(report)
    counts = report.counts
    click.echo(
        f"\n{counts['submitted']} jobs, {counts['handled']} handled once each, "
        f"{counts['outputs']} with a queried result, {counts['duplicates']} duplicates ignored, "
        f"{counts['quarantined']} garbled messages in quarantine, {counts['lost']} lost, in {counts['seconds']} s"
    )
    if keep:
        click.echo(f"Files kept in {keep}; try `mns-listener jobs list -c {keep}/listener.toml`")
    if not report.correct:
        click.echo("The demo failed: the outcomes above are not the expected ones.", err=True)


def _show_outputs(report: DemoReport) -> None:
    """The outputs that handlers got, of one job for each of a few functions."""
    found = {each.demo_job.function: each.outputs for each in reversed(report.job_reports) if each.outputs}
    for function in EXAMPLES_OF_OUTPUTS:
        if outputs := found.get(function):
            click.echo(f"\nOutputs that the handler of {function} got")
            shown = outputs_text.output_fields(outputs)
            print_fields({name: shown[name] for name in ("files", "covers", "segments", "splits")})


def _row(job_report: JobReport) -> tuple[str, ...]:
    lines = job_report.deliveries
    return (
        job_report.job.job_id,
        job_report.demo_job.function,
        job_report.job.user_data or "-",
        job_report.demo_job.fault or ("fails" if job_report.demo_job.fails else ""),
        ", ".join(line["route"] for line in lines) or "-",
        "jsonl" if lines else "-",
        (lines[0]["state"] if lines else "LOST") + ("" if job_report.correct else "  <-- unexpected"),
        outputs_text.outputs_summary(job_report.outputs) if job_report.outputs else "",
    )
