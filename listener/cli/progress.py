"""Progress bars and counts on standard error; callers verify that it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


@contextmanager
def bars(*names: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name; call the function with a name, how many are done, and of how many."""
    with _progress(TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn()) as progress:
        tasks = {name: progress.add_task(name, total=None) for name in names}
        yield lambda name, done, total: progress.update(tasks[name], completed=done, total=total)


@contextmanager
def counter(unit: str) -> Iterator[Callable[[], None]]:
    """A running count of this unit; call the function for each one."""
    columns = (SpinnerColumn(), TextColumn(f"{{task.completed}} {unit}"), TimeElapsedColumn())
    with _progress(*columns) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda: progress.advance(task)


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=Console(stderr=True), transient=True)
