"""Callback listener for ApsaraVideo Media Processing (MPS) jobs over Alibaba Cloud MNS queues.

What a handler needs is here::

    from listener import JobResult, Retry, Unavailable, Reject
"""

from listener.errors import ListenerError, Reject, Retry, Unavailable
from listener.model import JobResult

__all__ = ["JobResult", "ListenerError", "Reject", "Retry", "Unavailable"]
__version__ = "0.1.0"
