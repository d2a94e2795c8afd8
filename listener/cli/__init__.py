"""The command line. Each command has its own module, which is imported only when the command is used."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from listener.cli.options import global_config_option, log_level, log_level_options
from listener.core.errors import Interrupted, ListenerError
from listener.formats.unicode_text import storable, visible_lines

#: Commands and where they are defined, in the order of the help text.
COMMANDS = {
    "run": "listener.cli.run:run",
    "check": "listener.cli.check:check",
    "submit": "listener.cli.submit:submit",
    "jobs": "listener.cli.jobs:jobs",
    "reconcile": "listener.cli.reconcile:reconcile",
    "results": "listener.cli.results:results",
    "deliveries": "listener.cli.deliveries:deliveries",
    "dead-letters": "listener.cli.dead_letters:dead_letters",
    "quarantine": "listener.cli.quarantine:quarantine",
    "store": "listener.cli.store:store",
    "demo": "listener.cli.demo:demo",
    "emulator": "listener.cli.emulator:emulator",
}
#: Other names for commands; not listed in the help text.
ALIASES = {"dlq": "dead-letters"}
INTERNAL_ERROR = 70  #: EX_SOFTWARE

EPILOG = """\b
Examples:
  mns-listener demo
  mns-listener check -c listener.toml
  mns-listener -c listener.toml run
  mns-listener submit Cover --input oss://… --output oss://… --route covers
  mns-listener jobs list --state Fail

\b
Exit status: 0 success, 1 failure, 2 usage error, 69 unavailable (a service, the
store or a file), 70 a bug in mns-listener, 75 the daemon stopped but a part of it
hung, 78 invalid configuration, 130 interrupted (Ctrl-C).
"""


class Commands(click.Group):
    """Imports a command when it is used, and maps our errors to messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """click suggests the nearest name only for commands that are imported."""
        names = [*COMMANDS, *ALIASES]
        if args[0] not in names and (near := difflib.get_close_matches(args[0], names, n=1)):
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx=ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            if not argument.isascii() and storable(argument) != argument:
                raise click.UsageError(
                    f"argument {argument!r} is not valid UTF-8, so it cannot be stored; use UTF-8", ctx=ctx
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ListenerError as error:
            _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted", Interrupted.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as error:  # e.g. standard output on a full disk, or no permission to create a folder
            _fail(ctx, f"{error.filename or 'output'}: {error.strerror or error}", ListenerError.exit_code)
        except Exception as error:
            if os.environ.get("MNS_LISTENER_TRACEBACK"):
                raise
            _fail(
                ctx,
                f"internal error (a bug in mns-listener): {type(error).__name__}: {error}; "
                "please report it with the traceback that MNS_LISTENER_TRACEBACK=1 prints",
                INTERNAL_ERROR,
            )


def _fail(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    click.echo(f"Error: {visible_lines(message)}", err=True)
    ctx.exit(exit_code)


@click.command(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mns-listener")
@global_config_option
@log_level_options
@click.pass_context
def main(ctx: click.Context) -> None:
    """Consume ApsaraVideo MPS job callbacks from Alibaba Cloud MNS queues and deliver each result to its handler."""
    from listener.runtime import log_setup

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # do not fail on an ASCII terminal

    # `run` configures its own; for other commands standard output is the result.
    log_setup.configure(level=log_level(ctx) or "warning")
