"""Pushes publications to the endpoints of subscriptions, and tries again what was not accepted.

Source of the strategies: the page "notifystrategy" of the MNS manual. They hold for queues too: one that does not exist
when a message is published may do so a little later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Protocol

from listener.emulator.faults import PUSH, Faults, Occasion
from listener.emulator.faulty_delivery import FaultyDelivery
from listener.emulator.mns.endpoints import HttpEndpoint, QueueEndpoint
from listener.emulator.mns.notifications import notification_text
from listener.emulator.mns.queue import Draft, draft
from listener.emulator.mns.topics import NotifyStrategy, Publication, Subscription
from listener.emulator.virtual_clock import Timer, VirtualClock
from listener.emulator.xml_text import escape

#: How often each strategy tries again.
RETRIES = {NotifyStrategy.BACKOFF_RETRY: 3, NotifyStrategy.EXPONENTIAL_DECAY_RETRY: 176}
LONGEST_WAIT = 512

SendToQueue = Callable[[str, Draft], str]
"""Put a message into a queue by name, and return its id; "" if the queue does not exist."""


class PushOverHttp(Protocol):
    """Push a text; returns whether the endpoint has accepted it."""

    def __call__(
        self, url: str, text: str, *, publication: Publication, subscription: Subscription
    ) -> Awaitable[bool]: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Push:
    """A text on its way to one endpoint."""

    subscription: Subscription
    publication: Publication
    text: str
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPush:
    """A push that is under way or to be tried again, as it is saved."""

    subscription: Subscription
    publication: Publication
    text: str
    failures: int
    due: float  #: seconds since 1970; 0: it is under way


Recipient = tuple[Subscription, Publication]


class Notifier:
    """Brings each publication to each endpoint, at least once if the endpoint accepts it in time."""

    def __init__(
        self,
        *,
        send_to_queue: SendToQueue,
        push_over_http: PushOverHttp,
        faults: Faults,
        rng: Random,
        clock: VirtualClock,
    ) -> None:
        self.accepted = self.failed = self.given_up = 0
        self.deliveries: FaultyDelivery[Recipient] = FaultyDelivery(
            self._push_copies, faults=faults, clock=clock
        )
        self.waiting: dict[Push, Timer] = {}  #: those that are tried again
        self._under_way: dict[Push, None] = {}
        self._send_to_queue = send_to_queue
        self._push_over_http = push_over_http
        self._rng = rng
        self._clock = clock

    def notify(self, subscription: Subscription, publication: Publication) -> None:
        """Push a publication to the endpoint of a subscription, unless a fault prevents it."""
        endpoint = subscription.endpoint
        queue = endpoint.queue if isinstance(endpoint, QueueEndpoint) else ""
        self.deliveries.deliver(
            (subscription, publication),
            notification_text(publication, subscription),
            destination=subscription.attributes.endpoint,
            occasion=Occasion(
                service="callback",
                operation=PUSH,
                queue=queue,
                topic=publication.topic_name,
                function=publication.function,
            ),
        )

    def pending(self) -> list[PendingPush]:
        """Pushes that are not settled, to be resumed by another process."""
        due = dict.fromkeys(self._under_way, 0.0) | {push: timer.due for push, timer in self.waiting.items()}
        return [
            PendingPush(
                subscription=push.subscription,
                publication=push.publication,
                text=push.text,
                failures=push.failures,
                due=at,
            )
            for push, at in due.items()
        ]

    def resume(self, pending: PendingPush) -> None:
        push = Push(
            subscription=pending.subscription,
            publication=pending.publication,
            text=pending.text,
            failures=pending.failures,
        )
        self._push_after(push, max(pending.due - self._clock.seconds(), 0))

    def reset(self) -> None:
        """Discard all that is late, held or to be tried again, and count from zero."""
        self.deliveries.reset()
        for timer in self.waiting.values():
            timer.cancel()
        self.waiting.clear()
        self._under_way.clear()
        self.accepted = self.failed = self.given_up = 0

    def report(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "failed": self.failed,
            "given_up": self.given_up,
            "waiting": len(self.waiting),
            "dropped": self.deliveries.dropped,
        }

    def _push_copies(self, recipient: Recipient, text: str, copies: int) -> bool:
        subscription, publication = recipient
        for _ in range(copies):
            self._push(Push(subscription=subscription, publication=publication, text=text))
        return True

    def _push(self, push: Push) -> None:
        self.waiting.pop(push, None)
        if push.subscription.ended:
            return
        match push.subscription.endpoint:
            case QueueEndpoint(queue):
                self._settle(push, accepted=bool(self._send_to_queue(queue, _message(push))))
            case HttpEndpoint(url):
                self._under_way[push] = None
                self._clock.work(self._push_to(url, push))

    async def _push_to(self, url: str, push: Push) -> None:
        accepted = await self._push_over_http(
            url, push.text, publication=push.publication, subscription=push.subscription
        )
        self._under_way.pop(push, None)
        if not push.subscription.ended:
            self._settle(push, accepted=accepted)

    def _settle(self, push: Push, *, accepted: bool) -> None:
        if accepted:
            self.accepted += 1
            return
        self.failed += 1
        push.failures += 1
        strategy = push.subscription.attributes.notify_strategy
        if push.failures > RETRIES[strategy]:
            self.given_up += 1
            if target := push.subscription.features.dead_letter_queue:
                self._send_to_queue(target, _message(push))
            return
        wait = wait_before_retry(push.failures, strategy=strategy, rng=self._rng)
        self._push_after(push, wait)

    def _push_after(self, push: Push, seconds: float) -> None:
        self.waiting[push] = self._clock.call_later(seconds, partial(self._push, push))


def wait_before_retry(number: int, *, strategy: NotifyStrategy, rng: Random) -> float:
    """Seconds until the retry with this number, of which the first is 1."""
    if strategy == NotifyStrategy.BACKOFF_RETRY:
        return rng.uniform(10, 20)
    return min(2.0 ** min(number - 1, 9), LONGEST_WAIT)


def _message(push: Push) -> Draft:
    return replace(
        draft(push.text), group=escape(push.publication.group), properties=push.publication.properties
    )
