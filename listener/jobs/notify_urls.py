"""The queues of the settings as NotifyUrls of jobs."""

from __future__ import annotations

from collections.abc import Sequence

from listener.rules.callback_destination import Destination, PolledQueue
from listener.settings.sections import Settings, mps_section


def polled_queues(settings: Settings) -> Sequence[tuple[str, PolledQueue]]:
    """The queues of the settings, each with its tenant."""
    return [
        (
            queue.tenant,
            PolledQueue.of(
                queue.queue, label=queue.label, url=queue.url or f"{queue.endpoint}/queues/{queue.queue}"
            ),
        )
        for queue in settings.queues
    ]


def only_notify_url(settings: Settings, tenant: str) -> str:
    """The NotifyUrl of the only queue of this tenant; empty if it has several, or one with another kind of URL."""
    queues = [queue for owner, queue in polled_queues(settings) if owner == tenant]
    return queues[0].notify_url if len(queues) == 1 else ""


def notify_url_warnings(settings: Settings, url: str) -> list[str]:
    """Whether no queue of the settings is the one to which MPS sends the callback."""
    queues = [queue for _, queue in polled_queues(settings)]
    if not url or not queues or any(queue.gets(url) for queue in queues):
        return []
    polled = ", ".join(repr(queue.label) for queue in queues)
    warning = (
        f"NotifyUrl = {url!r} is none of the queues in the settings ({polled}): a daemon with these settings does not "
        "receive the callback"
    )
    return [warning]


def destination_of(tenant: str, settings: Settings) -> Destination:
    """What the settings say about where callbacks of this tenant go."""
    queues = polled_queues(settings)
    return Destination(
        tenant=tenant,
        section=mps_section(tenant),
        notify_url=settings.tenant(tenant).mps.notify_url,
        only_url=only_notify_url(settings, tenant),
        polled=[queue for owner, queue in queues if owner == tenant],
        polled_by_others=[queue for owner, queue in queues if owner != tenant],
    )
