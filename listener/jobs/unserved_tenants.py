"""Accepted jobs that no running daemon submits: they are reported, and those of unserved tenants refused in the end."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from listener import __version__
from listener.core import clock
from listener.core.logger import get_logger
from listener.core.ports import AcceptedStore, ClockCheck
from listener.formats.durations import duration_text
from listener.runtime.log_throttle import ThrottledLog
from listener.settings.sections import mps_section

log = get_logger(__name__)

#: Such jobs are refused once they were accepted so long ago,
REFUSED_AFTER: Final = timedelta(days=1)
#: and no daemon has served their tenant for so long, as far as this one could see: another may just be starting.
WATCHED_FOR: Final = timedelta(minutes=10)
#: They are reported after this time: a daemon may just be restarting.
REPORTED_AFTER: Final = timedelta(minutes=1)


class UnservedTenants:
    """One turn is ``turn``. For one thread."""

    def __init__(self, *, store: AcceptedStore, served: Collection[str], clock_check: ClockCheck) -> None:
        """``served``: the tenants whose jobs this process submits."""
        self._store = store
        self._served = served
        self._clock_check = clock_check
        self._since = dict[str, float]()  #: since when these tenants have been served by no daemon
        self._reported = set[str]()
        self._kinds_log = ThrottledLog(log)

    def turn(self) -> None:
        """Look once. Raises StoreUnavailable."""
        at = clock.now()  # before it is confirmed
        waiting = self._store.unserved_jobs(at=at, served=self._served)
        now = clock.monotonic()
        self._since = {tenant: self._since.get(tenant, now) for tenant in waiting}
        self._reported.intersection_update(waiting)
        self._report_newer_kinds(at)
        for tenant, since in self._since.items():
            lasts = timedelta(seconds=now - since)
            if lasts >= REPORTED_AFTER and tenant not in self._reported:
                self._reported.add(tenant)
                log.warning(
                    "tenant.not_served", tenant=tenant, setting=mps_section(tenant), jobs=waiting[tenant]
                )
            if lasts >= WATCHED_FOR and self._clock_check.confirmed:
                self._refuse(tenant, at)

    def _report_newer_kinds(self, at: datetime) -> None:
        """Jobs of a kind that only a newer release submits wait for it, and are not refused."""
        for waiting in self._store.accepted_newer_kinds(release=__version__, at=at):
            self._kinds_log.warning(
                "job.kind_not_submitted",
                kind=waiting.kind,
                jobs=waiting.jobs,
                reference=waiting.reference,
                hint="start a daemon of the release that accepted them",
            )

    def _refuse(self, tenant: str, at: datetime) -> None:
        error = (
            f"no running daemon has [{mps_section(tenant)}] in its settings, by which jobs of "
            f"{f'the tenant {tenant!r}' if tenant else 'no tenant'} are submitted; nothing was sent within "
            f"{duration_text(REFUSED_AFTER)}"
        )
        count = self._store.refuse_tenant(tenant, error, accepted_before=at - REFUSED_AFTER, at=at)
        if count:
            log.warning("tenant.jobs_refused", tenant=tenant, setting=mps_section(tenant), count=count)
