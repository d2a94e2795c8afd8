"""All checks in the order in which a person reads them: settings, store, handlers, http, keys, queues, MPS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Final

from listener.aliyun import mps_client
from listener.aliyun.tenant_clients import TenantClients
from listener.checks import machine
from listener.checks.accounts import AccountChecks
from listener.checks.bounded_checks import BoundedChecks, Check
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.daemon.start_checks import START_CHECKS, StartCheck
from listener.jobs.settings_warnings import settings_warnings
from listener.settings.sections import Settings

#: Whatever hangs, all checks end after this time.
LIMIT: Final = timedelta(seconds=12)


def run_checks(settings: Settings, *, limit: timedelta) -> Iterator[CheckResult]:
    """The results of all checks of valid settings.

    Handlers are loaded by this thread, as by a daemon: their modules may rely on being imported by the main thread.
    """
    yield from settings_results(settings)
    clients = TenantClients(settings)
    if any(settings.tenant(name).mps.configured for name in ("", *settings.tenants)):
        mps_client.import_sdk()
    bounded = BoundedChecks(limit=limit)
    start = {each.kind: _check_of(each, settings) for each in START_CHECKS}
    handlers = start.pop(CheckKind.HANDLERS)
    running = {kind: bounded.start(check) for kind, check in start.items()}
    files = bounded.start(machine.store_files_check(settings))
    webhooks = [bounded.start(check) for check in machine.webhook_checks(settings)]
    accounts = AccountChecks(settings, clients, bounded)
    loaded = list(handlers.results())
    for check in (running[CheckKind.SINGLE_DAEMON], running[CheckKind.STORE], files):
        yield from bounded.results(check)
    yield from loaded
    for check in (*webhooks, running[CheckKind.HTTP], running[CheckKind.CLIENTS]):
        yield from bounded.results(check)
    yield from machine.log_check(settings).results()
    yield from accounts.results()


def settings_results(settings: Settings) -> Iterator[CheckResult]:
    """What is configured, and a warning for each setting that is valid but probably not what was meant."""
    queues = ", ".join(queue.label for queue in settings.queues)
    routes = ", ".join(route.name for route in settings.routes)
    yield CheckResult(level=Level.OK, kind=CheckKind.SETTINGS, detail=f"queues {queues}; routes {routes}")
    for warning in settings_warnings(settings):
        yield CheckResult(level=Level.WARNING, kind=CheckKind.SETTINGS, detail=warning)


def _check_of(start_check: StartCheck, settings: Settings) -> Check:
    return Check.of(start_check.kind, partial(start_check.verify, settings))
