"""The command line. Each command has its own module, which is imported only when the command is used.

These modules import what only their commands need with ``lazy_imports``, so that their help does not load it.
"""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from listener.cli.closed_output import ended_by_reader, open_closed_streams
from listener.cli.options import global_config_option, log_level, log_level_options
from listener.core.errors import Interrupted, ListenerError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports
from listener.core.logger import configure_at_first_line
from listener.formats.unicode_text import storable, visible_lines

with lazy_imports():
    from listener.runtime import log_setup

#: Commands in the order of the help text: where each is defined, and what the help says, which a test compares with the
#: command's own.
COMMANDS = {
    "setup": (
        "listener.cli.setup:setup",
        "Create a queue, bind a pipeline to it, and write the settings file.",
    ),
    "run": ("listener.cli.run:run", "Run the daemon: receive callbacks and call handlers."),
    "check": ("listener.cli.check:check", "Verify that the daemon can run with these settings."),
    "explain": (
        "listener.cli.explain:explain",
        "Explain what happens to a message, or happened to a job, and why.",
    ),
    "status": ("listener.cli.status:status", "Show how the listener is doing, and what to do."),
    "top": ("listener.cli.top:top", "Watch how the listener is doing."),
    "submit": ("listener.cli.submit:submit", "Submit one job, or many with --from."),
    "jobs": ("listener.cli.jobs:jobs", "List and inspect jobs."),
    "reconcile": ("listener.cli.reconcile:reconcile", "Query MPS for job status, and record the answer."),
    "results": ("listener.cli.results:results", "List recorded results; reroute or drop parked ones."),
    "deliveries": ("listener.cli.deliveries:deliveries", "List deliveries; retry or cancel pending ones."),
    "dead-letters": (
        "listener.cli.dead_letters:dead_letters",
        "List, replay or delete dead letters (alias: dlq).",
    ),
    "quarantine": (
        "listener.cli.quarantine:quarantine",
        "List, retry, delete or export messages that could not be decoded.",
    ),
    "tail": ("listener.cli.tail:tail", "Follow what is recorded, finished and settled."),
    "store": ("listener.cli.store:store", "Show the status of the store; migrate, compact or export it."),
    "new-handler": (
        "listener.cli.new_handler:new_handler",
        "Write the package of a handler, with a test that passes.",
    ),
    "demo": ("listener.cli.demo:demo", "Run an end-to-end demo on this machine, without an account."),
    "completion": (
        "listener.cli.completion:completion",
        "Print the script that completes commands in a shell.",
    ),
    "emulator": ("listener.cli.emulator:emulator", "Run a local emulator of MNS and MPS."),
    "trigger": (
        "listener.cli.trigger:trigger",
        "Send a made-up callback of any kind and state to a queue.",
    ),
    "record": (
        "listener.cli.record:record",
        "Write message bodies to a file, from the store or from a queue, for replay.",
    ),
    "replay": ("listener.cli.replay:replay", "Send the messages in a file to a queue, in their order."),
}
#: Other names for commands; not listed in the help text.
ALIASES = {"dlq": "dead-letters"}

EPILOG = """\b
Examples:
  mns-listener demo
  mns-listener check -c listener.toml
  mns-listener -c listener.toml run
  mns-listener submit Cover --input oss://… --output oss://… --route covers
  mns-listener jobs list --state Fail

\b
Exit status:
""" + "\n".join(f"  {code:<4} {code.meaning}" for code in ExitCode)


class Commands(click.Group):
    """Imports a command when it is used, and maps our errors to messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click's own, but without importing the commands."""
        commands = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's own, but without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

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

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        open_closed_streams()
        with ended_by_reader():  # of a help text
            try:
                return super().make_context(info_name, args, parent, **extra)
            except BrokenPipeError:
                raise
            except OSError as error:  # standard output on a full disk
                raise click.ClickException(f"output: {error.strerror or error}") from error

    def invoke(self, ctx: click.Context) -> Any:
        with ended_by_reader():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()  # at the end of the process it would be too late for an error message
            return value
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
                ExitCode.INTERNAL,
            )


def _fail(ctx: click.Context, message: str, exit_code: ExitCode) -> NoReturn:
    with suppress(BrokenPipeError):  # the status counts, whether the message is read or not
        click.echo(f"Error: {visible_lines(message)}", err=True)
    ctx.exit(exit_code)


@click.command(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mns-listener")
@global_config_option
@log_level_options
@click.pass_context
def main(ctx: click.Context) -> None:
    """Consume ApsaraVideo MPS job callbacks from Alibaba Cloud MNS queues and deliver each result to its handler."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # do not fail on an ASCII terminal

    # `run` configures its own; for other commands standard output is the result.
    level = log_level(ctx) or "warning"
    configure_at_first_line(lambda: log_setup.configure(level=level))
