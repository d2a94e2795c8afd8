"""Whether accepted jobs wait that no daemon would submit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from listener.checks.bounded_checks import Check
from listener.core import clock
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import ListenerError
from listener.settings.sections import Settings, mps_section
from listener.store.sql_store import SqlStore


def accepted_jobs_check(settings: Settings) -> Check:
    return Check(kind=CheckKind.ACCEPTED_JOBS, find=partial(_unserved, settings))


def _unserved(settings: Settings) -> Iterator[CheckResult]:
    """A row for each tenant; none for a store that the check of the store refuses, or that has to be migrated."""
    url, timeout = settings.store.url, settings.store.timeout
    try:
        with closing(SqlStore.open_existing(url, timeout=timeout, read_only=True)) as store:
            waiting = store.unserved_jobs(at=clock.now(), served=settings.tenants_with_mps)
    except ListenerError:
        return
    for tenant, count in waiting.items():
        section = mps_section(tenant)
        yield CheckResult(
            level=Level.WARNING,
            kind=CheckKind.ACCEPTED_JOBS,
            subject=tenant,
            detail=f"{count} accepted jobs wait for a daemon with [{section}] in its settings, and none is running",
            advice=f"set {section}.region, else they are refused a day after their acceptance",
        )
