"""Callback listener for ApsaraVideo Media Processing (MPS) jobs over Alibaba Cloud MNS queues.

Exports what handlers and submitters need::

    from listener import JobResult, Retry, Unavailable, Reject, time_left
    from listener import submit, wait, register, Client
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listener.core.call_deadline import time_left
from listener.core.errors import ListenerError, Reject, Retry, Unavailable
from listener.core.model import JobResult

if TYPE_CHECKING:
    from listener.client import Client, register, submit, wait

__all__ = [
    "Client",
    "JobResult",
    "ListenerError",
    "Reject",
    "Retry",
    "Unavailable",
    "register",
    "submit",
    "time_left",
    "wait",
]
__version__ = "0.1.0"

_API = ("Client", "register", "submit", "wait")


def __getattr__(name: str) -> Any:
    """Submitting needs the store and more; a handler should not have to import that."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import listener.client

    return getattr(listener.client, name)
