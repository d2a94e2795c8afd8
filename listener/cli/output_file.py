"""Files that commands write: whoever reads one never finds a part of it, also if the command fails in the middle."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import click

from listener.core.errors import AlreadyExists, UsageError


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--output``, for ``output_file``, and ``--force``; a file that exists is refused without it."""

    @wraps(command)
    def checked(*, output: Path, force: bool, **given: Any) -> Any:
        if output.is_file() and not force:  # no device or pipe, which is made to be written to
            raise AlreadyExists(
                f"{str(output)!r} exists already", hint="choose another name, or replace it with --force"
            )
        return command(output=output, **given)

    path = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
    help_text = "Output file for its owner only, written atomically.  [default: standard output]"
    force = click.option("--force", is_flag=True, help="Replace the file of --output if it exists.")
    return click.option("--output", type=path, default="-", help=help_text)(force(checked))


@contextmanager
def output_file(path: Path) -> Iterator[TextIO]:
    """A text file that takes its place at ``path`` once it is complete; standard output if that is ``-``.

    Raises UsageError if it cannot be written there.
    """
    if str(path) == "-":
        yield sys.stdout
    elif path.exists() and not path.is_file():  # a device or a pipe, which is not to be replaced by a file
        with path.open("w", encoding="utf-8") as device:
            yield device
    else:
        yield from _new_file(path)


def _new_file(path: Path) -> Iterator[TextIO]:
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"cannot write to {str(path)!r}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        Path(name).replace(path)
    except BaseException:  # raised again, once the part that was written is gone
        Path(name).unlink()
        raise
