"""Callback listener for ApsaraVideo Media Processing (MPS) jobs over Alibaba Cloud MNS queues.

Exports what handlers and submitters need::

    from listener import JobResult, Retry, Unavailable, Reject, time_left
    from listener import submit, wait, outputs, register, Client, AsyncClient, Job

and the errors that they may raise, with the warning ``JobWarning``. ``listener.testing`` is for tests of handlers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from listener.async_client import AsyncClient
    from listener.client import Client, outputs, register, submit, wait
    from listener.core.call_deadline import time_left
    from listener.core.errors import (
        AlreadyExists,
        JobWarning,
        ListenerError,
        MpsRejected,
        MpsUnavailable,
        NotFound,
        ReferenceExists,
        Reject,
        Retry,
        SettingsError,
        StoreRejected,
        StoreUnavailable,
        Unavailable,
        UnavailableError,
        UsageError,
    )
    from listener.core.model import Job, JobResult, JobState
    from listener.core.outputs import Outputs

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Client",
    "Job",
    "JobResult",
    "JobState",
    "JobWarning",
    "ListenerError",
    "MpsRejected",
    "MpsUnavailable",
    "NotFound",
    "Outputs",
    "ReferenceExists",
    "Reject",
    "Retry",
    "SettingsError",
    "StoreRejected",
    "StoreUnavailable",
    "Unavailable",
    "UnavailableError",
    "UsageError",
    "outputs",
    "register",
    "submit",
    "time_left",
    "wait",
]
__version__ = "0.1.0"

_ERRORS = (
    *("AlreadyExists", "JobWarning"),
    *("ListenerError", "MpsRejected", "MpsUnavailable", "NotFound", "ReferenceExists", "Reject", "Retry"),
    *("SettingsError", "StoreRejected", "StoreUnavailable", "Unavailable", "UnavailableError", "UsageError"),
)
#: Where the names are that are imported when they are first used.
_API = {
    "AsyncClient": "listener.async_client",
    "Outputs": "listener.core.outputs",
    "time_left": "listener.core.call_deadline",
    **dict.fromkeys(("Client", "outputs", "register", "submit", "wait"), "listener.client"),
    **dict.fromkeys(("Job", "JobResult", "JobState"), "listener.core.model"),
    **dict.fromkeys(_ERRORS, "listener.core.errors"),
}


def __getattr__(name: str) -> Any:
    """Submitting needs the store and more: a handler should not have to import that, nor the command line all of it."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_API[name]), name)
