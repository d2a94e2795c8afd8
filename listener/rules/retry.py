"""What becomes of a delivery whose attempt failed: decided here as a value, carried out by the engine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from listener.core.errors import Reject, Retry
from listener.core.model import Dead, Delivery, Outcome, QueryBackoff, RetryAt, RetryPolicy
from listener.formats.unicode_text import shortened, storable

#: What is kept of an error's text.
ERROR_LENGTH: Final = 500
#: A handler may ask for any wait; beyond this, adding it to the time could overflow.
_LONGEST_ASKED: Final = timedelta(days=366)
_LOST_LEASE: Final = "the attempt never ended: its process died or its handler hung until the lease was over"


def after_failure(
    delivery: Delivery, error: BaseException, policy: RetryPolicy, *, now: datetime, jitter: float
) -> Outcome:
    """The fate of a delivery whose handler raised ``error``; ``jitter`` is random, from 0 to 1.

    ``Reject`` is final at once. ``Unavailable`` never spends an attempt, so that only ``max_age`` ends it;
    anything else spends one of ``max_attempts``. A wait that ``Retry`` or ``Unavailable`` asks for is kept.
    """
    text = error_text(error)
    if isinstance(error, Reject):
        return Dead(reason=text)
    if not isinstance(error, Retry):
        return _spend(delivery, text, policy, now=now, wait=_next_wait(delivery, policy, jitter))
    if error.counts:
        wait = _asked(error, otherwise=_next_wait(delivery, policy, jitter))
        return _spend(delivery, text, policy, now=now, wait=wait)
    wait = _asked(error, otherwise=retry_delay(delivery.attempt, policy, jitter=jitter))
    return _too_old(delivery, text, policy, now=now) or RetryAt(at=now + wait, reason=text, spent=False)


def after_lost_lease(delivery: Delivery, policy: RetryPolicy, *, now: datetime, jitter: float) -> Outcome:
    """The fate of a delivery whose attempt was never settled. That counts: the handler may be the cause."""
    return _spend(delivery, _LOST_LEASE, policy, now=now, wait=_next_wait(delivery, policy, jitter))


def query_delay(asked: int, patience: QueryBackoff, *, jitter: float) -> timedelta:
    """The wait until MPS is asked again about a job that it was asked about this often before."""
    return _doubled(asked, patience.first, patience.longest, jitter=jitter)


def retry_delay(attempt: int, policy: RetryPolicy, *, jitter: float) -> timedelta:
    """The wait after this many attempts (from 1): doubling, capped, and between its half and its whole."""
    return _doubled(attempt - 1, policy.first_wait, policy.longest_wait, jitter=jitter)


def _doubled(times: int, first: timedelta, longest: timedelta, *, jitter: float) -> timedelta:
    doublings = min(max(times, 0), 64)  # a float has room for these, a timedelta may not
    whole = min(first.total_seconds() * 2.0**doublings, longest.total_seconds())
    return timedelta(seconds=whole * (0.5 + jitter / 2))


def error_text(error: BaseException) -> str:
    """The error for people: its type and what it says, at most ERROR_LENGTH characters, never empty."""
    try:
        said = str(error).strip()
    except Exception:  # an error of a stranger's, which may be broken itself
        said = "(its text can't be shown)"
    name = type(error).__name__
    return shortened(storable(f"{name}: {said}" if said else name), ERROR_LENGTH)


def _spend(delivery: Delivery, text: str, policy: RetryPolicy, *, now: datetime, wait: timedelta) -> Outcome:
    spent = delivery.failures + 1
    if spent >= policy.max_attempts:
        return Dead(reason=f"gave up after {spent} of {policy.max_attempts} attempts; the last: {text}")
    return _too_old(delivery, text, policy, now=now) or RetryAt(at=now + wait, reason=text)


def _too_old(delivery: Delivery, text: str, policy: RetryPolicy, *, now: datetime) -> Dead | None:
    if now - delivery.created_at <= policy.max_age:
        return None
    return Dead(reason=f"gave up because it is older than max_age ({policy.max_age}); the last: {text}")


def _next_wait(delivery: Delivery, policy: RetryPolicy, jitter: float) -> timedelta:
    return retry_delay(delivery.failures + 1, policy, jitter=jitter)


def _asked(error: Retry, *, otherwise: timedelta) -> timedelta:
    """An asked-for wait of zero is a wish too, so only None falls back."""
    return otherwise if error.after is None else min(max(error.after, timedelta(0)), _LONGEST_ASKED)
