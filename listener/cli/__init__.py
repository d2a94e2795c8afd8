"""The command line. Each command lives in a module of its own, imported when it is used."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from listener.core.errors import ListenerError
from listener.formats.unicode_text import storable

#: Command names and where they are: in this order in the help.
COMMANDS = {
    "run": "listener.cli.run:run",
    "check": "listener.cli.check:check",
    "submit": "listener.cli.submit:submit",
    "jobs": "listener.cli.jobs:jobs",
    "reconcile": "listener.cli.reconcile:reconcile",
    "results": "listener.cli.results:results",
    "dead": "listener.cli.dead_letters:dead",
    "quarantine": "listener.cli.quarantine:quarantine",
    "store": "listener.cli.store:store",
    "demo": "listener.cli.demo:demo",
    "emulator": "listener.cli.emulator:emulator",
}
INTERNAL_ERROR = 70  #: EX_SOFTWARE

EPILOG = """\b
Examples:
  mns-listener demo
  mns-listener check -c listener.toml
  mns-listener run -c listener.toml
  mns-listener submit Cover --input oss://… --output oss://… --route covers
  mns-listener jobs list --state Fail

\b
Exit status: 0 done, 1 failed, 2 wrong usage, 69 something can't be reached,
78 the settings can't work.
"""


class Commands(click.Group):
    """Imports a command when it is asked for, and turns our errors into words and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            if not argument.isascii() and storable(argument) != argument:
                raise click.UsageError(f"argument {argument!r} is not UTF-8; no store could hold it", ctx=ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ListenerError as error:
            _fail(ctx, str(error), error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:  # a full disk behind standard output, a folder that may not be made
            _fail(ctx, f"{error.filename or 'output'}: {error.strerror or error}", ListenerError.exit_code)
        except Exception as error:
            if os.environ.get("MNS_LISTENER_TRACEBACK"):
                raise
            _fail(
                ctx,
                f"internal error: {type(error).__name__}: {error}; this is a defect of mns-listener, "
                "please report it with what MNS_LISTENER_TRACEBACK=1 prints",
                INTERNAL_ERROR,
            )


def _fail(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    ctx.exit(exit_code)


@click.command(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mns-listener")
def main() -> None:
    """Stand at the MNS queue where ApsaraVideo MPS puts its callbacks, and see every job to its handler."""
    from listener.runtime import log_setup

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal in ASCII is no reason to fail

    log_setup.configure(level="warning")  # run sets up its own; elsewhere standard output is for answers
