"""Deliveries that applications pull: which route and handler they name, what they get, and how they settle it.

A delivery to the handler ``pull`` is enriched by a worker like any other, and then offered. An application claims it
under a lease, which this process does not renew, and names the attempt when it settles it: if its lease has expired and
another attempt has begun, nothing is changed.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from listener.core import clock
from listener.core.documents import to_plain
from listener.core.errors import LeaseLost, ListenerError, NotFound, Reject, Retry, UsageError
from listener.core.model import Claim, Delivery, DeliveryState, Done, Outcome, RetryAfter, Settlement, Target
from listener.core.ports import Meter, PullStore
from listener.core.pull import MAX_LEASE, MIN_LEASE, PullHandler
from listener.dispatch.delivery_log import log_settlement
from listener.dispatch.delivery_trace import trace_settlements
from listener.dispatch.job_result import job_result
from listener.formats.durations import duration_text
from listener.rules import retry
from listener.rules.retry import RetryPolicy

#: How many deliveries one claim brings at most.
MAX_CLAIM: Final = 256
#: How long the name of an application may be.
MAX_NAME: Final = 100
#: The name of an application that gives none.
UNNAMED: Final = "application"


class PullAction(StrEnum):
    """How an application ends its attempt, or goes on with it."""

    DONE = "done"
    RETRY = "retry"
    REJECT = "reject"
    EXTEND = "extend"


#: Of how many attempts the beginning is remembered. Those of applications that died are never settled.
REMEMBERED: Final = 10_000

_STATE_AFTER: Final = {
    PullAction.DONE: DeliveryState.DONE,
    PullAction.RETRY: DeliveryState.PENDING,
    PullAction.REJECT: DeliveryState.DEAD,
}


class _Beginnings:
    """When applications got the attempts that they have not settled yet, as far as this process gave them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: OrderedDict[tuple[int, int], tuple[datetime, float]] = OrderedDict()

    def add(self, deliveries: Sequence[Delivery]) -> None:
        now = clock.now(), clock.monotonic()
        with self._lock:
            self._begun.update({(each.id, each.attempt): now for each in deliveries})
            while len(self._begun) > REMEMBERED:
                self._begun.popitem(last=False)

    def end(self, delivery: Delivery) -> tuple[datetime | None, float | None]:
        """When it began, and how many seconds ago; None if that is not known."""
        with self._lock:
            begun = self._begun.pop((delivery.id, delivery.attempt), None)
        return (begun[0], clock.monotonic() - begun[1]) if begun else (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettlement:
    """What an application reports about one delivery."""

    delivery_id: int
    attempt: int
    action: PullAction
    delay: timedelta | None = None  #: of a retry; None: the back-off of the route
    reason: str = ""  #: of a retry or rejection
    lease: timedelta | None = None  #: of an extension: its length from now; None: that of the handler


@dataclass(frozen=True, slots=True, kw_only=True)
class PullAnswer:
    """What has become of that delivery."""

    delivery_id: int
    state: DeliveryState
    lease_until: datetime | None = None  #: while it is running
    next_at: datetime | None = None  #: while it is pending


class Pull:
    """Claims and settles for applications. Safe to use from several threads. Raises StoreUnavailable."""

    def __init__(
        self,
        *,
        store: PullStore,
        handlers: Callable[[], Mapping[Target, PullHandler]],
        policy: Callable[[Delivery], RetryPolicy],
        lease_time: Callable[[], datetime],
        meter: Meter,
        daemon: str,
        on_offered: Callable[[Set[Target]], None] = lambda _targets: None,
    ) -> None:
        """``handlers``: those in use. ``on_offered``: these targets have deliveries that are due at once again."""
        self._store = store
        self._handlers = handlers
        self._policy = policy
        self._lease_time = lease_time
        self._meter = meter
        self._daemon = daemon
        self._on_offered = on_offered
        self._beginnings = _Beginnings()

    def target(self, route: str, handler: str = "") -> Target:
        """The pull handler of this route. Raises NotFound, or UsageError if the route has several and none is named."""
        of_route = [target for target in self._handlers() if target.route == route]
        found = [target for target in of_route if handler in ("", target.handler)]
        if not of_route:
            known = ", ".join(sorted({target.route for target in self._handlers()})) or "none"
            raise NotFound(
                f'no route {route!r} with a handler {{ use = "pull" }} is in the settings; routes with one: {known}',
                field="route",
            )
        if not found:
            names = ", ".join(sorted(target.handler for target in of_route))
            raise NotFound(
                f"the route {route!r} has no pull handler named {handler!r}; it has: {names}", field="handler"
            )
        if len(found) > 1:
            names = ", ".join(sorted(target.handler for target in found))
            raise UsageError(
                f"the route {route!r} has several pull handlers; name one of them: {names}", field="handler"
            )
        return found[0]

    def claim(
        self, target: Target, *, client: str = "", limit: int = 1, lease: timedelta | None = None
    ) -> Sequence[Delivery]:
        """Offered deliveries that are due, the longest due first, for the application of this name.

        ``lease`` is how long it has them; without it, as long as the handler says. Raises UsageError.
        """
        if not 1 <= limit <= MAX_CLAIM:
            raise UsageError(f"limit = {limit} must be between 1 and {MAX_CLAIM}", field="limit")
        claim = Claim(owner=self._owner(client), until=self._lease_end(target, lease), limit=limit)
        claimed = self._store.claim_offered(target, claim, at=clock.now())
        self._beginnings.add(claimed)
        return claimed

    def due_targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Those of these of which at least one delivery can be claimed."""
        return self._store.due_targets(targets, at=clock.now())

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Offer these again, which were claimed by an application that has not received them: no attempt is spent."""
        outcome = RetryAfter(
            wait=timedelta(0),
            reason="the application did not receive the delivery",
            spent=False,
            failed=False,
        )
        settlements = [Settlement(delivery=delivery, outcome=outcome) for delivery in deliveries]
        if settlements:
            self._store.settle(settlements, at=clock.now())
            self._on_offered({delivery.target for delivery in deliveries})

    def settle(self, given: PullSettlement) -> PullAnswer:
        """End the attempt, or extend its lease. Repeating what has had its effect changes nothing.

        Raises NotFound, UsageError, or LeaseLost if the attempt is not the current one or was settled otherwise.
        """
        (answer,) = self.settle_all([given])
        if isinstance(answer, ListenerError):
            raise answer
        return answer

    def settle_all(self, given: Sequence[PullSettlement]) -> Sequence[PullAnswer | ListenerError]:
        """The same for several; each has its answer, or the error that ``settle`` would raise.

        In one transaction, unless some are about the same delivery: those take effect in the order in which they are
        given.
        """
        answers: dict[PullSettlement, PullAnswer | ListenerError] = {}
        for group in _in_turn(given):
            answers.update(zip(group, self._settle_once(group), strict=True))
        return [answers[each] for each in given]

    def _settle_once(self, given: Sequence[PullSettlement]) -> Sequence[PullAnswer | ListenerError]:
        found = [self._unless_refused(each) for each in given]
        settlements = [each for each in found if isinstance(each, Settlement)]
        at = clock.now()
        late = {id(each) for each in self._store.settle(settlements, at=at)} if settlements else set()
        trace_settlements([each for each in settlements if id(each) not in late], since=at)
        answers: list[PullAnswer | ListenerError] = []
        for each, wanted in zip(found, given, strict=True):
            if not isinstance(each, Settlement):
                answers.append(each)
                continue
            is_late = id(each) in late
            self._meter.settled([each], late=is_late)
            log_settlement(each, late=is_late)
            answers.append(_lost(wanted) if is_late else self._answer(each, at))
        return answers

    def _unless_refused(self, given: PullSettlement) -> Settlement | PullAnswer | ListenerError:
        """What is to be written; or the answer, if nothing is."""
        try:
            delivery = self._current(given)
            if given.action is PullAction.EXTEND:
                return self._extend(delivery, given.lease)
        except (NotFound, UsageError, LeaseLost) as error:
            return error
        if delivery.state is _STATE_AFTER[given.action]:  # it was reported before
            return PullAnswer(delivery_id=delivery.id, state=delivery.state, next_at=delivery.due_at)
        return self._settlement(delivery, given)

    def _current(self, given: PullSettlement) -> Delivery:
        delivery = self._store.find_delivery(given.delivery_id)
        if delivery is None:
            raise NotFound(
                f"no delivery has the id {given.delivery_id}",
                field="delivery_id",
                hint="settle with the `delivery` and the `attempt` of the claim",
            )
        never = delivery.owner and delivery.state is not DeliveryState.RUNNING  # the owner is who offered it
        if delivery.pull_at is None or never:
            raise LeaseLost(f"no application has pulled delivery {delivery.id}")
        if delivery.attempt != given.attempt:
            raise _lost(given)
        return delivery

    def _extend(self, delivery: Delivery, lease: timedelta | None) -> PullAnswer:
        until = self._lease_end(delivery.target, lease)
        if not self._store.extend(delivery, until=until):
            raise LeaseLost(f"delivery {delivery.id} is {delivery.state} and has no lease to extend")
        return PullAnswer(delivery_id=delivery.id, state=DeliveryState.RUNNING, lease_until=until)

    def _settlement(self, delivery: Delivery, given: PullSettlement) -> Settlement:
        started_at, seconds = self._beginnings.end(delivery)
        return Settlement(
            delivery=delivery,
            outcome=self._outcome(delivery, given),
            started_at=started_at,
            seconds=seconds,
        )

    def _outcome(self, delivery: Delivery, given: PullSettlement) -> Outcome:
        if given.action is PullAction.DONE:
            return Done()
        reason = given.reason or "the application gave no reason"
        error = Reject(reason) if given.action is PullAction.REJECT else Retry(reason, after=given.delay)
        return retry.after_failure(
            delivery, error, self._policy(delivery), now=clock.now(), jitter=random.random()
        )

    def _answer(self, settlement: Settlement, at: datetime) -> PullAnswer:
        delivery, outcome = settlement.delivery, settlement.outcome
        if isinstance(outcome, Done):
            return PullAnswer(delivery_id=delivery.id, state=DeliveryState.DONE)
        if not isinstance(outcome, RetryAfter):
            return PullAnswer(delivery_id=delivery.id, state=DeliveryState.DEAD)
        if outcome.wait <= timedelta(0):
            self._on_offered({delivery.target})
        return PullAnswer(delivery_id=delivery.id, state=DeliveryState.PENDING, next_at=at + outcome.wait)

    def _lease_end(self, target: Target, lease: timedelta | None) -> datetime:
        if lease is not None and not MIN_LEASE <= lease <= MAX_LEASE:
            bounds = f"between {duration_text(MIN_LEASE)} and {duration_text(MAX_LEASE)}"
            raise UsageError(f"lease = {duration_text(lease)} must be {bounds}", field="lease")
        handler = self._handlers().get(target, PullHandler())
        return self._lease_time() + (handler.lease if lease is None else lease)

    def _owner(self, client: str) -> str:
        if len(client) > MAX_NAME or not client.isprintable():
            raise UsageError(
                f"the name of the client must be printable, with at most {MAX_NAME} characters",
                field="client",
            )
        return f"pull:{client or UNNAMED}@{self._daemon}"


def _in_turn(given: Sequence[PullSettlement]) -> Sequence[Sequence[PullSettlement]]:
    """As few groups as possible, each with one settlement of a delivery at most; the same one twice is one."""
    groups: list[dict[int, PullSettlement]] = []
    group_of: dict[int, int] = {}
    for each in dict.fromkeys(given):
        place = group_of[each.delivery_id] = group_of.get(each.delivery_id, -1) + 1
        if place == len(groups):
            groups.append({})
        groups[place][each.delivery_id] = each
    return [tuple(group.values()) for group in groups]


def pulled_document(delivery: Delivery) -> dict[str, Any]:
    """What the application gets: the document of all handlers, and what it needs to settle the delivery."""
    return {
        **job_result(delivery).to_document(),
        "delivery": delivery.id,
        "lease_until": to_plain(delivery.lease_until),
    }


def _lost(given: PullSettlement) -> LeaseLost:
    return LeaseLost(
        f"attempt {given.attempt} of delivery {given.delivery_id} is over: its lease has expired, or it was settled "
        "otherwise; another attempt has the same key"
    )
