"""How the adapters report their requests, which the provider charges for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

OnRequest = Callable[[str, str], None]
"""Called after each request with its operation and its outcome."""

#: The outcome of a request that was carried out; a failed one has the name of its ``FailureKind``.
OK: Final = "ok"
#: The outcome of a request that MPS refused for what it asks for; a repetition would be refused, too.
REJECTED: Final = "rejected"


def not_counted(_operation: str, _outcome: str) -> None:
    """For a process that has no metrics."""
