"""All checks in the order in which a person reads them: settings, store, handlers, http, keys, queues, MPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from listener.aliyun import mps_client
from listener.aliyun.tenant_clients import TenantClients
from listener.checks import machine
from listener.checks.accepted_jobs import accepted_jobs_check
from listener.checks.accounts import AccountChecks
from listener.checks.bounded_checks import BoundedChecks, Check
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.daemon.start_checks import START_CHECKS
from listener.jobs.settings_warnings import settings_warnings
from listener.settings.sections import Settings

#: Whatever hangs, all checks end after this time.
LIMIT: Final = timedelta(seconds=12)
_ORDER: Final = list(CheckKind)


def run_checks(settings: Settings, *, limit: timedelta) -> Iterator[CheckResult]:
    """The results of all checks of valid settings.

    Handlers are loaded by this thread, as by a daemon: their modules may rely on being imported by the main thread.
    """
    yield from settings_results(settings)
    clients = TenantClients(settings)
    if settings.tenants_with_mps:
        mps_client.import_sdk()
    bounded = BoundedChecks(limit=limit)
    in_turn, handlers = _start_checks(settings)
    others = [
        machine.store_files_check(settings),
        machine.log_check(settings),
        *machine.webhook_checks(settings),
    ]
    running = [*bounded.start_in_turn(in_turn), *(bounded.start(check) for check in others)]
    accounts = AccountChecks(settings, clients, bounded)
    found = list(handlers.results())
    for check in running:
        found += bounded.results(check)
    yield from sorted(found, key=lambda result: _ORDER.index(result.kind))
    yield from accounts.results()


def _start_checks(settings: Settings) -> tuple[Sequence[Check], Check]:
    """What a start opens, except for the handlers, and the handlers.

    Not to be run at the same time: several open the same SQLite file, and closing one connection could release locks of
    another one of this process. The store is the last, since it is what may hang.
    """
    checks = {each.kind: Check.of(each.kind, partial(each.verify, settings)) for each in START_CHECKS}
    handlers = checks.pop(CheckKind.HANDLERS)
    in_turn = sorted(checks.values(), key=lambda check: check.kind == CheckKind.STORE)
    return [*in_turn, accepted_jobs_check(settings)], handlers


def settings_results(settings: Settings) -> Iterator[CheckResult]:
    """What is configured, and a warning for each setting that is valid but probably not what was meant."""
    queues = ", ".join(queue.label for queue in settings.queues)
    routes = ", ".join(route.name for route in settings.routes)
    yield CheckResult(level=Level.OK, kind=CheckKind.SETTINGS, detail=f"queues {queues}; routes {routes}")
    for warning in settings_warnings(settings):
        yield CheckResult(level=Level.WARNING, kind=CheckKind.SETTINGS, detail=warning)
