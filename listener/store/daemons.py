"""Which daemons run on this store: each one reports every few seconds, and signs off when it stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, or_, select

from listener.core.model import Target
from listener.store.compiled import insert_or_update
from listener.store.database import Database
from listener.store.rows import mapping
from listener.store.tables import daemons

#: How often a daemon reports, and how long it counts as running after its last report.
REPORT_INTERVAL: Final = timedelta(seconds=10)
COUNTS_AS_RUNNING: Final = timedelta(seconds=45)
#: After this time without a report, the row of a daemon that did not sign off is deleted.
FORGOTTEN_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDaemon:
    """One process of ``mns-listener run``."""

    owner: str  #: the name under which it holds leases
    host: str
    version: str
    queues: Sequence[str]
    #: What it has handlers for; None: a release that does not report it.
    targets: Sequence[Target] | None = None
    #: For which tenants it submits jobs; None: a release that does not report it, and may submit all
    tenants: Sequence[str] | None = None
    started_at: datetime
    seen_at: datetime

    def may_have(self, target: Target) -> bool:
        """Whether it has, or may have, a handler for this."""
        return self.targets is None or target in self.targets


class Daemons:
    """Each method is one transaction. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, daemon: RunningDaemon) -> None:
        """Save that it is running; one statement."""
        with self._database.write() as connection:
            connection.execute(
                insert_or_update(connection.dialect.name, daemons, ["owner"], ["seen_at", "targets"]),
                _values(daemon),
            )

    def sign_off(self, owner: str, *, at: datetime) -> None:
        """It stops. The rows of daemons that ended long ago without signing off are deleted too."""
        ended = or_(daemons.c.owner == owner, daemons.c.seen_at < at - FORGOTTEN_AFTER)
        with self._database.write() as connection:
            connection.execute(delete(daemons).where(ended))

    def running(self, at: datetime) -> Sequence[RunningDaemon]:
        """The daemons that have reported lately, the one that started first first."""
        with self._database.read() as connection:
            return running(connection, at)


def running(connection: Connection, at: datetime) -> Sequence[RunningDaemon]:
    """See ``Daemons.running``."""
    recent = select(daemons).where(daemons.c.seen_at > at - COUNTS_AS_RUNNING)
    rows = connection.execute(recent.order_by(daemons.c.started_at, daemons.c.owner)).all()
    return [_daemon(row) for row in rows]


def _values(daemon: RunningDaemon) -> dict[str, Any]:
    targets, tenants = daemon.targets, daemon.tenants
    return {
        **{field.name: getattr(daemon, field.name) for field in fields(RunningDaemon)},
        "queues": json.dumps(daemon.queues),
        "targets": None if targets is None else json.dumps([(to.route, to.handler) for to in targets]),
        "tenants": None if tenants is None else json.dumps(tenants),
    }


def _daemon(row: Row[Any]) -> RunningDaemon:
    """The inverse of ``_values``."""
    targets = None if row.targets is None else tuple(Target(*pair) for pair in json.loads(row.targets))
    tenants = None if row.tenants is None else tuple(json.loads(row.tenants))
    return RunningDaemon(
        **{
            **mapping(row),
            "queues": tuple(json.loads(row.queues)),
            "targets": targets,
            "tenants": tenants,
        }
    )
