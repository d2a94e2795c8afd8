"""The outcome of a failed attempt: decided here as a value, carried out by the dispatcher."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from listener.core.errors import Offer, Reject, Retry
from listener.core.model import Dead, Delivery, Offered, Outcome, RetryAfter
from listener.formats.unicode_text import shortened, storable
from listener.rules.backoff import DELIVERY_BACKOFF, Backoff

#: The maximum length of a stored error text.
ERROR_LENGTH: Final = 500
#: A handler may request any delay; a longer one could overflow when added to the current time.
_MAX_REQUESTED_DELAY: Final = timedelta(days=366)
#: Errors of a process or system that has no more files, memory or threads; they say nothing about the delivery.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
#: CPython's text, in a RuntimeError without an errno.
_NO_THREAD: Final = "can't start new thread"
#: How many errors of a chain are examined; a chain may be a circle.
_CHAIN_LENGTH: Final = 16
#: How long a delivery waits for a process with its handler before it is claimed again.
NO_HANDLER_WAIT: Final = timedelta(seconds=30)
#: How many pauses a plan lists.
SHOWN_WAITS: Final = 8
#: After so many failures the pause has its maximum, however it began.
_PLANNED_ONE_BY_ONE: Final = 100
_LOST_LEASE: Final = "lease expired: the process died, or the handler hung"
_LOST_PULL: Final = "lease expired: the application that had pulled the delivery did not settle it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and for how long a delivery is retried."""

    max_attempts: int = 10
    max_elapsed: timedelta = timedelta(days=1)
    backoff: Backoff = DELIVERY_BACKOFF


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """What a policy means for a delivery whose attempts all fail, at once, with an error that spends an attempt."""

    attempts: int  #: how many are made
    waits: tuple[timedelta, ...]  #: the longest pauses between them; the first ``SHOWN_WAITS``
    until_dead: timedelta  #: from the first attempt to the last one, with the longest pauses
    limit: str  #: what ends it: ``max_attempts`` or ``max_elapsed``


def plan(policy: RetryPolicy) -> RetryPlan:
    """The attempts that ``after_failure`` leads to."""
    waits: list[timedelta] = []
    failures, elapsed = 1, timedelta(0)
    while (
        failures < policy.max_attempts and elapsed <= policy.max_elapsed and failures <= _PLANNED_ONE_BY_ONE
    ):
        waits.append(policy.backoff.delay(failures - 1))
        elapsed += waits[-1]
        failures += 1
    # From here on, all pauses are of the same length.
    if failures < policy.max_attempts and elapsed <= policy.max_elapsed:
        more, wait = policy.max_attempts - failures, policy.backoff.delay(failures - 1)
        if wait:
            more = min(more, (policy.max_elapsed - elapsed) // wait + 1)
        failures, elapsed = failures + more, elapsed + more * wait
    limit = "max_attempts" if failures >= policy.max_attempts else "max_elapsed"
    return RetryPlan(attempts=failures, waits=tuple(waits[:SHOWN_WAITS]), until_dead=elapsed, limit=limit)


def after_failure(
    delivery: Delivery, error: BaseException, policy: RetryPolicy, *, now: datetime, jitter: float
) -> Outcome:
    """The outcome of a delivery whose handler raised ``error``; ``jitter`` is random, from 0 to 1.

    ``Reject`` is final at once. ``Unavailable``, and an error that comes from a lack of files, memory or threads, never
    spend an attempt, so that only ``max_elapsed`` ends it; anything else spends one of ``max_attempts``. A delay that
    ``Retry`` or ``Unavailable`` requests is used.
    """
    if isinstance(error, Offer):
        return Offered()
    text = error_text(error)
    if isinstance(error, Reject):
        return Dead(reason=text)
    requested = error.after if isinstance(error, Retry) else None
    if error.counts if isinstance(error, Retry) else not _lacks_resources(error):
        wait = _requested(requested, otherwise=_next_wait(delivery, policy, jitter))
        return _spend(delivery, text, policy, now=now, wait=wait)
    wait = _requested(requested, otherwise=policy.backoff.delay(delivery.attempt - 1, jitter=jitter))
    return _too_old(delivery, text, policy, now=now) or RetryAfter(wait=wait, reason=text, spent=False)


def after_lost_lease(delivery: Delivery, policy: RetryPolicy, *, now: datetime, jitter: float) -> Outcome:
    """The outcome of a delivery whose attempt was never settled. It counts, since the handler may be the cause."""
    reason = _LOST_LEASE if delivery.pull_at is None else _LOST_PULL
    return _spend(delivery, reason, policy, now=now, wait=_next_wait(delivery, policy, jitter))


def without_handler(delivery: Delivery, *, timeout: timedelta, now: datetime) -> Outcome:
    """The outcome of a delivery for which this process has no handler. Another process may have it.

    It is a dead letter once no process that claimed it has had its handler for ``timeout``.
    """
    since = min(delivery.no_handler_since or now, now)  # the clock may have been set back
    left, target = timeout - (now - since), delivery.target
    missing = f"no route {target.route!r} with a handler {target.handler!r}"
    if left <= timedelta(0):
        return Dead(
            reason=f"dispatch.no_handler_timeout exceeded ({timeout}): no process has {missing} in its settings"
        )
    return RetryAfter(
        wait=min(left, NO_HANDLER_WAIT),
        reason=f"this process has {missing} in its settings",
        spent=False,
        no_handler_since=since,
    )


def error_text(error: BaseException) -> str:
    """The error as text: its type and message, at most ERROR_LENGTH characters, never empty."""
    try:
        message = str(error).strip()
    except Exception:  # a third-party exception, whose __str__ may raise
        message = "(its text cannot be shown)"
    name = type(error).__name__
    return shortened(storable(f"{name}: {message}" if message else name), ERROR_LENGTH)


def _spend(delivery: Delivery, text: str, policy: RetryPolicy, *, now: datetime, wait: timedelta) -> Outcome:
    spent = delivery.failures + 1
    if spent >= policy.max_attempts:
        return Dead(
            reason=f"no attempts left (failures: {spent}, max_attempts: {policy.max_attempts}); last error: {text}"
        )
    return _too_old(delivery, text, policy, now=now) or RetryAfter(wait=wait, reason=text)


def _too_old(delivery: Delivery, text: str, policy: RetryPolicy, *, now: datetime) -> Dead | None:
    if now - delivery.attempts_since <= policy.max_elapsed:
        return None
    return Dead(reason=f"retry.max_elapsed exceeded ({policy.max_elapsed}); last error: {text}")


def _next_wait(delivery: Delivery, policy: RetryPolicy, jitter: float) -> timedelta:
    return policy.backoff.delay(delivery.failures, jitter=jitter)


def _requested(after: timedelta | None, *, otherwise: timedelta) -> timedelta:
    """A requested delay of zero is valid, so only None falls back."""
    return otherwise if after is None else min(max(after, timedelta(0)), _MAX_REQUESTED_DELAY)


def _lacks_resources(error: BaseException) -> bool:
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno in _EXHAUSTED)
        or (isinstance(each, RuntimeError) and each.args == (_NO_THREAD,))
        for each in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from, as in a traceback: libraries wrap what the system says."""
    following: BaseException | None = error
    for _ in range(_CHAIN_LENGTH):
        if following is None:
            return
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
