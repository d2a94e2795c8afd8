"""Options that may be given before or after the command: the settings file and the log level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

LEVELS: Final = ("debug", "info", "warning", "error")
LEVEL_OF_FLAG: Final = {"verbose": "debug", "quiet": "warning"}
#: Where options before the command are kept, in the ``meta`` that all contexts of a command line share.
CONFIG, LOG_LEVEL = "mns_listener.config", "mns_listener.log_level"


def config_option(command: F) -> F:
    """Adds ``-c``, as ``path``; one before the command counts unless there is one after it."""

    def chosen(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        source = ctx.get_parameter_source(param.name or "")
        return value if source is ParameterSource.COMMANDLINE else ctx.meta.get(CONFIG, value)

    return click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="MNS_LISTENER_CONFIG",
        show_envvar=True,
        callback=chosen,
        help="Settings file.  [default: ./listener.toml if it exists]",
    )(command)


def global_config_option(command: F) -> F:
    """The same option before the command."""

    def keep(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.meta[CONFIG] = value

    return click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=keep,
        help="Settings file, as after the command.",
    )(command)


def log_level_options(command: F) -> F:
    """Adds ``-v``, ``-q`` and ``--log-level``; the last one given counts. See ``log_level``."""

    def keep(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
        if value:
            ctx.meta[LOG_LEVEL] = LEVEL_OF_FLAG.get(param.name or "", value)

    for names, help_text, choice in (
        (("--log-level",), "Log from this level on, instead of log.level.", click.Choice(LEVELS, False)),
        (("-q", "--quiet"), "The same as --log-level warning.", None),
        (("-v", "--verbose"), "The same as --log-level debug.", None),
    ):
        command = click.option(
            *names, type=choice, is_flag=choice is None, expose_value=False, callback=keep, help=help_text
        )(command)
    return command


def log_level(ctx: click.Context) -> str | None:
    """The level that the command line asks for."""
    level: str | None = ctx.meta.get(LOG_LEVEL)
    return level
