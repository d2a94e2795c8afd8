"""``python -m tests.benchmarks [--quick] [--only NAME,…] [--json FILE]``: measure, and print the figures."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import structlog

from listener.core import clock
from tests.benchmarks.figures import Figure, Machine, as_json, table
from tests.benchmarks.measurements import FULL, MEASUREMENTS, QUICK, Bench, Sizes, Skipped
from tests.benchmarks.places import Stuck, running_server


@click.command()
@click.option("--quick", is_flag=True, help="Everything with small sizes, within a minute.")
@click.option("--only", default="", metavar="NAME,…", help=f"Of {', '.join(MEASUREMENTS)}.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), default="bench-results.json")
def main(*, quick: bool, only: str, path: Path) -> None:
    """Measure the listener against its goals and against what one would write instead."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    names = [name for name in only.split(",") if name] or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(MEASUREMENTS)}")
    machine = Machine.this()
    figures, skipped = measured(QUICK if quick else FULL, names)
    click.echo(f"\n{table(figures)}\n\n{machine}")
    for each in skipped:
        click.echo(f"not measured: {each}")
    path.write_text(as_json(figures, machine, skipped=skipped), encoding="utf-8")


def measured(sizes: Sizes, names: Sequence[str]) -> tuple[list[Figure], list[str]]:
    """The figures, and what could not be measured and why."""
    figures: list[Figure] = []
    skipped: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mnsl-bench-") as folder, running_server() as server:
        bench = Bench(server, sizes, Path(folder))
        for name in names:
            began = clock.monotonic()
            try:
                figures += _printed(MEASUREMENTS[name](bench))
            except (Skipped, Stuck) as reason:
                skipped.append(f"{name}: {reason}")
            click.echo(f"{name}: {clock.monotonic() - began:.0f} s", err=True)
    return figures, skipped


def _printed(figures: Iterator[Figure]) -> Iterator[Figure]:
    for figure in figures:
        click.echo(f"  {figure.name}: {figure.measured}", err=True)
        yield figure


if __name__ == "__main__":
    main()
