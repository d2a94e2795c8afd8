"""The queues of the settings as NotifyUrls of jobs."""

from __future__ import annotations

from listener.formats.queue_url import as_notify_url, split_queue_url
from listener.rules.callback_destination import PolledQueue
from listener.settings.sections import QueueSettings, Settings


def only_notify_url(settings: Settings, tenant: str) -> str:
    """The NotifyUrl of the only queue of this tenant; empty if it has several, or one with another kind of URL."""
    queues = [queue for queue in settings.queues if queue.tenant == tenant]
    return _notify_url(queues[0]) if len(queues) == 1 else ""


def notify_url_warnings(settings: Settings, url: str) -> list[str]:
    """Whether no queue of the settings is the one to which MPS sends the callback."""
    if not url or not settings.queues or _is_polled(settings, url):
        return []
    polled = ", ".join(repr(queue.label) for queue in settings.queues)
    warning = (
        f"NotifyUrl = {url!r} is none of the queues in the settings ({polled}): a daemon with these settings does not "
        "receive the callback"
    )
    return [warning]


def _notify_url(queue: QueueSettings) -> str:
    try:
        return as_notify_url(queue.url or f"{queue.endpoint}/queues/{queue.queue}")
    except ValueError:
        return ""


def _is_polled(settings: Settings, url: str) -> bool:
    try:
        endpoint, name = split_queue_url(url)
    except ValueError:  # a job that was forced
        return False
    polled = (PolledQueue(name=queue.queue, endpoint=queue.endpoint) for queue in settings.queues)
    return any(queue.is_at(endpoint, name) for queue in polled)
