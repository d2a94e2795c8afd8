"""The delay between two attempts: one rule for everything that is retried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

#: More doublings than this change nothing, and could overflow.
_MAX_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off: ``initial``, then doubling up to ``maximum``."""

    initial: timedelta
    maximum: timedelta

    def delay(self, failures: int, *, jitter: float = 1.0) -> timedelta:
        """The delay after this many earlier failures, from 0.

        ``jitter`` is a random number from 0 to 1: the delay lies between half of the full delay (0) and all of it (1).
        """
        doublings = min(max(failures, 0), _MAX_DOUBLINGS)
        full = min(self.initial.total_seconds() * 2.0**doublings, self.maximum.total_seconds())
        return timedelta(seconds=full * (0.5 + jitter / 2))


#: After failed polls of a queue, throttled ones included; with jitter. Every recovery is noticed within its maximum.
MNS_BACKOFF = Backoff(timedelta(seconds=0.5), timedelta(seconds=8))
#: After turns of a reconciler, a verifier or a submitter in which no call reached MPS.
MPS_BACKOFF = Backoff(timedelta(seconds=1), timedelta(minutes=1))
#: After failed attempts to fetch outputs from a tenant's MPS.
ENRICH_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=30))
#: Between the attempts at a delivery, unless [retry] or the route sets its own.
DELIVERY_BACKOFF = Backoff(timedelta(seconds=1), timedelta(minutes=10))
