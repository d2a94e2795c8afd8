"""``mns-listener new-handler``: write the package of a handler of your own, with a test that passes."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from listener import __version__
from listener.core.errors import AlreadyExists, UsageError
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.cli import handler_template
    from listener.dispatch import handler_loader

if TYPE_CHECKING:
    from collections.abc import Mapping

EPILOG = """\b
Examples:
  mns-listener new-handler cover-notes
  mns-listener new-handler cover-notes --into ~/src
"""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
MAX_NAME: Final = 50


@click.command("new-handler", epilog=EPILOG)
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    help="The folder in which the one of the package is created.  [default: the current one]",
)
def new_handler(*, name: str, into: Path) -> None:
    """Write the package of a handler, with a test that passes.

    NAME is what a route will use: lower-case letters, digits and - or _ between them. The folder has the same name and
    must not exist.
    """
    module = _module_of(name)
    folder = into / name
    _write(folder, handler_template.files_of(name, module=module, version=__version__))
    click.echo(f"created {folder}; next:")
    click.echo(f"  cd {folder} && pip install -e '.[test]' && pytest")
    click.echo(f'  then use = "{name}" in a route; {folder / "README.md"} has an example')


def _module_of(name: str) -> str:
    """The name of its module. Raises UsageError for a name that cannot work, or that means something else already."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise UsageError(
            f"{name!r} is not a valid name; use at most {MAX_NAME} lower-case letters and digits, "
            "with - or _ between them"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module):
        raise UsageError(f"{name!r} is a keyword of Python; use another name")
    if name in handler_loader.available():
        raise UsageError(f"a handler {name!r} is installed already; use another name")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module):
        raise UsageError(f"there is a Python module {module!r} already; use another name")
    return module


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """All files or none of them."""
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise AlreadyExists(f"{str(folder)!r} exists already; choose another name or folder") from error
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except BaseException:  # raised again, once what was written is gone
        shutil.rmtree(folder)
        raise
