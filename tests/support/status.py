"""How a listener is doing: values with every field defaulted, of one where all is well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from listener.cli.daemon_view import DaemonView, QueueView
from listener.cli.status_rows import Status
from listener.core.model import Source
from listener.store.statistics import Activity, Totals
from tests.support.builders import NOON, a_daemon

HOUR: Final = timedelta(hours=1)
DAEMON: Final = a_daemon(started_at=NOON - HOUR)
QUEUE: Final = QueueView(name="mps-callbacks", receive_age=timedelta(seconds=3), pollers=1)
VIEW: Final = DaemonView(owner=DAEMON.owner, queues=(QUEUE,), in_flight=2)


def an_activity(**fields: Any) -> Activity:
    """The hour before noon, in which nothing happened."""
    defaults: dict[str, Any] = {
        "at": NOON,
        "since": NOON - HOUR,
        "outcomes_since": NOON - HOUR,
        "minutes": (),
        "ended_by": dict.fromkeys(Source, 0),
        "times": (),
    }
    return Activity(**(defaults | fields))


def a_status(**fields: Any) -> Status:
    """One daemon, which answered, and nothing open."""
    defaults: dict[str, Any] = {
        "at": NOON,
        "daemons": (DAEMON,),
        "view": VIEW,
        "totals": Totals(at=NOON, bytes=12_345_678),
        "activity": an_activity(),
    }
    return Status(**(defaults | fields))
