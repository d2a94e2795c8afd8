"""``mns-listener check``: verify that the daemon can run and gets its callbacks, or say what to fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.cli.common import config_option, json_option, print_json, print_table, settings_from
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import SettingsError
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.checks import all_checks, bounded_checks

if TYPE_CHECKING:
    from collections.abc import Mapping

EPILOG = """\b
Examples:
  mns-listener check -c listener.toml
  mns-listener check -c listener.toml --json

Checks all that `run` refuses to start with, and then access keys, queues and MPS. It
does not receive or change any message, and neither creates nor migrates the store.
Beside a running daemon of the same store, its address and its lock are in order.
A check is ok, a warning (it works, but probably not as was meant) or FAILED; each
warning and failure says what to do. The exit status is 0 unless a check failed: then
it is that of the worst failure, where invalid configuration (78) is worse than what
is unavailable (69). Whatever hangs, the checks end after about 12 seconds.
"""


@click.command(epilog=EPILOG)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """Verify that the daemon can run with these settings."""
    results = _results(path)
    exit_code = max(result.exit_code for result in results)
    if as_json:
        level = max((result.level for result in results), key=list(Level).index)
        checks = [_document(result) for result in results]
        print_json({"level": level, "exit_code": exit_code, "checks": checks})
    else:
        rows = [(_shown(result.level), result.name, _words(result)) for result in results]
        print_table(("level", "check", "detail"), rows, empty="nothing to check")
    ctx.exit(exit_code)


def _results(path: Path | None) -> Sequence[CheckResult]:
    """If the settings are invalid, a result for each error."""
    try:
        settings = settings_from(path)
        settings.require_work()
    except SettingsError as error:
        return list(bounded_checks.failures(CheckKind.SETTINGS, "", error))
    return list(all_checks.run_checks(settings, limit=all_checks.LIMIT))


def _document(result: CheckResult) -> Mapping[str, str]:
    """The shape that scripts rely on."""
    return {
        "level": result.level,
        "name": result.name,
        "detail": result.detail,
        "advice": result.advice,
    }


def _shown(level: Level) -> str:
    return level.upper() if level == Level.FAILED else level


def _words(result: CheckResult) -> str:
    """Errors of a service contain their advice."""
    return (
        result.detail
        if not result.advice or result.advice in result.detail
        else f"{result.detail}; {result.advice}"
    )
