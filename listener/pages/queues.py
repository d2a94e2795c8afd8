"""Queues: how receiving from each goes, and on request how many messages are in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from listener.aliyun.mns_queue import read_status
from listener.core.errors import ListenerError
from listener.core.queue_status import QueueReport, QueueStatus
from listener.pages.visit import Area, PageRoute, Visit
from listener.settings.sections import QueueSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQueue:
    """One queue."""

    settings: QueueSettings
    report: QueueReport | None  #: None if the settings have got it after the start
    status: QueueStatus | None = None  #: None unless MNS was asked, and answered
    error: str = ""  #: why MNS did not answer


def list_queues(visit: Visit) -> Response:
    ask = visit.asked("ask") == "1"
    reports = {report.name: report for report in visit.context.queues()}
    return visit.render(
        "queues.html",
        queues=[
            _queue(visit, queue, reports.get(queue.label), ask=ask) for queue in visit.context.settings.queues
        ],
        asked=ask,
    )


def _queue(visit: Visit, queue: QueueSettings, report: QueueReport | None, *, ask: bool) -> ShownQueue:
    if not ask:
        return ShownQueue(settings=queue, report=report)
    try:
        status = read_status(queue, visit.context.client.clients.keys(queue.tenant))
    except ListenerError as error:
        return ShownQueue(settings=queue, report=report, error=str(error))
    denied = "" if status else "this key has no permission to read the attributes"
    return ShownQueue(settings=queue, report=report, status=status, error=denied)


AREA: Final = Area(title="Queues", path="/queues", routes=(PageRoute(path="/queues", view=list_queues),))
