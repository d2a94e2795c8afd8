"""``mns-listener check``: verify that the daemon can run, or say what to fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.cli.common import (
    config_option,
    json_option,
    print_json,
    print_table,
    print_warnings,
    settings_from,
)
from listener.core.errors import ListenerError
from listener.core.exit_codes import ExitCode
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.aliyun import mns_queue, tenant_clients
    from listener.daemon import start_checks
    from listener.jobs import settings_warnings

if TYPE_CHECKING:
    from listener.aliyun.tenant_clients import TenantClients
    from listener.settings.sections import Settings

EPILOG = """\b
Examples:
  mns-listener check -c listener.toml
  mns-listener check -c listener.toml --json

\b
Checks all that `run` refuses to start with, and then access keys and queues. It does
not receive or change any message, and neither creates nor migrates the store. Beside
a running daemon of the same store, its address and its lock are in order. The exit
status is that of the first check that failed, else 0.
What is valid but probably not meant, such as a route that an earlier one hides, is a
warning on standard error, and in "warnings" of the JSON.
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. ``exit_code`` is that of its error."""

    name: str
    ok: bool
    detail: str
    exit_code: ExitCode = ExitCode.OK


@click.command(epilog=EPILOG)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """Verify that the daemon can run with these settings."""
    settings, loaded = _settings(path)
    results = [*loaded, *(_others(settings) if settings else ())]
    warnings = settings_warnings.settings_warnings(settings) if settings else []
    if as_json:
        checks = [asdict(one) for one in results]
        print_json({"ok": all(one.ok for one in results), "checks": checks, "warnings": warnings})
    else:
        rows = [("ok" if one.ok else "FAILED", one.name, one.detail) for one in results]
        print_table(("", "check", "detail"), rows, empty="nothing to check")
        print_warnings(warnings)
    ctx.exit(next((one.exit_code for one in results if not one.ok), ExitCode.OK))


def _settings(path: Path | None) -> tuple[Settings | None, Sequence[CheckResult]]:
    """The settings; if they are invalid, None and a result for each error."""
    try:
        settings = settings_from(path)
        settings.require_work()
    except ListenerError as error:
        lines = str(error).splitlines()
        return None, [CheckResult("settings", False, line, error.exit_code) for line in lines]
    return settings, [CheckResult("settings", True, _summary(settings))]


def _others(settings: Settings) -> Iterator[CheckResult]:
    for start_check in start_checks.START_CHECKS:
        yield _run_check(start_check.name, partial(start_check.verify, settings))
    yield from _queues(settings)


def _summary(settings: Settings) -> str:
    queues = ", ".join(queue.label for queue in settings.queues)
    return f"queues {queues}; routes {', '.join(route.name for route in settings.routes)}"


def _run_check(name: str, inspect: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, inspect())
    except ListenerError as error:
        return _failed(name, error)


def _failed(name: str, error: ListenerError) -> CheckResult:
    return CheckResult(name, False, str(error), error.exit_code)


def _queues(settings: Settings) -> Iterator[CheckResult]:
    """What the daemon would wait for: keys that come from elsewhere than files, and the queues."""
    clients = tenant_clients.TenantClients(settings)
    for tenant in dict.fromkeys(queue.tenant for queue in settings.queues):
        key = _run_check(f"access key {tenant}".rstrip(), partial(_access_key, clients, tenant))
        yield key
        for queue in settings.queues if key.ok else ():
            if queue.tenant == tenant:
                verify = partial(mns_queue.check_queue, queue, clients.keys(tenant))
                yield _run_check(f"queue {queue.label}", verify)


def _access_key(clients: TenantClients, tenant: str) -> str:
    return f"{clients.keys(tenant).get_credentials().id[:4]}…"
