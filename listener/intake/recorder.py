"""receive → decode → record → delete: short, durable, and never runs user code."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import structlog

from listener.core import clock
from listener.core.errors import QueueUnavailable, StoreUnavailable, UnavailableError, Undecodable
from listener.core.model import Claim, DecodedMessage, Delivery, Message, RecordSummary, Result
from listener.core.ports import DeliverySink, HeartbeatSink, Meter, Queue, Store
from listener.formats.callback import decode
from listener.rules.backoff import Backoff
from listener.rules.routing import Correlation, Rule, decider
from listener.runtime.log_throttle import ThrottledLog

log = structlog.get_logger(__name__)

#: After failed polls, with up to 50 % jitter. The end of every outage is noticed within its maximum.
BACKOFF = Backoff(timedelta(seconds=0.5), timedelta(seconds=8))

#: Where a result was not brought by any.
NO_MESSAGE = Message(message_id="", receipt_handle="", body="")
#: After a long poll that was answered before its time: a message that comes meanwhile waits no longer than this.
LONGEST_REST = timedelta(seconds=1)


class Intake:
    """Makes results of messages and keeps them, for all pollers."""

    def __init__(
        self,
        *,
        store: Store,
        rules: Sequence[Rule],
        correlation: Correlation,
        sink: DeliverySink,
    ) -> None:
        self._store = store
        self._rules = rules
        self._correlation = correlation
        self._taker = sink
        self._waiting_until: datetime | None = None
        #: Whether the last batch brought more than this process has room for: handlers are slower than the queue.
        self.overflows = False

    @property
    def has_waiting(self) -> bool:
        """Whether this process recorded results of which the grace may be over by now."""
        return self._waiting_until is not None

    def use(self, rules: Sequence[Rule], correlation: Correlation) -> None:
        """Decide by these from the next batch on."""
        self._rules, self._correlation = rules, correlation

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        """Decode and keep one batch. When this returns, it is durable. Raises StoreUnavailable."""
        return self._record([decode_message(queue, message) for message in messages])

    def _record(self, batch: Sequence[DecodedMessage]) -> RecordSummary:
        at = clock.now()
        decide = decider(self._rules, self._correlation, now=at, wait_over=False)
        claim = self._taker.claim(len(batch))
        recorded = RecordSummary()
        try:
            recorded = self._store.record(batch, decide, at=at, claim=claim)
        finally:
            if claim:
                self._taker.take(claim, recorded.claimed)
        self.overflows = recorded.deliveries > len(recorded.claimed)
        if recorded.waiting:
            self._waiting_until = at + self._correlation.wait
        self._tell(recorded)
        return recorded

    def record_found(self, results: Sequence[Result]) -> RecordSummary:
        """Keep results that no queue brought: MPS was asked, or a job was given up. Raises StoreUnavailable."""
        return self._record(
            [DecodedMessage(queue="", message=NO_MESSAGE, result=result) for result in results]
        )

    def decide_waiting(self, *, limit: int = 500) -> RecordSummary:
        """Decide about results whose grace is over or whose job has come. Raises StoreUnavailable."""
        at = clock.now()
        decide = decider(self._rules, self._correlation, now=at, wait_over=True)
        if self._waiting_until and at > self._waiting_until:
            self._waiting_until = None
        recorded = self._store.decide_waiting(decide, at=at, limit=limit)
        self._tell(recorded)
        return recorded

    def _tell(self, recorded: RecordSummary) -> None:
        if recorded.deliveries > len(recorded.claimed):
            self._taker.wake()


def decode_message(queue: str, message: Message) -> DecodedMessage:
    """The message with its result, or with the reason why it has none."""
    try:
        return DecodedMessage(queue=queue, message=message, result=decode(message.body))
    except Undecodable as error:
        return DecodedMessage(queue=queue, message=message, result=None, reason=error.reason)
    except (
        Exception
    ) as error:  # a defect of ours must not hold up the neighbours: the message is kept as it is
        log.exception("decode.crashed", queue=queue, message_id=message.message_id)
        reason = f"decoding it failed with {type(error).__name__}, which is a defect of mns-listener"
        return DecodedMessage(queue=queue, message=message, result=None, reason=reason)


class Poller:
    """Stands at one queue. One turn is ``poll_once``; ``run`` only repeats it."""

    def __init__(
        self,
        *,
        queue: Queue,
        intake: Intake,
        stop: threading.Event,
        meter: Meter,
        heartbeat: HeartbeatSink,
        wait: timedelta,
        batch: int = 16,
    ) -> None:
        self._queue = queue
        self._intake = intake
        self._stop = stop
        self._meter = meter
        self._pulse = heartbeat
        self._wait = wait
        self._batch = batch
        self._failures = 0
        self._warnings = ThrottledLog(log)
        self.idle = False  #: whether the last turn found the queue empty
        self.full = False  #: whether it brought as many messages as a batch can hold
        self.trouble: UnavailableError | None = None  #: what the last turn failed with

    @property
    def name(self) -> str:
        return self._queue.name

    @property
    def needs_help(self) -> bool:
        """Whether there is more than one poller can take, and handlers are waiting for it."""
        return self.full and not self._intake.overflows

    @property
    def failures(self) -> int:
        """How many turns have failed in a row."""
        return self._failures

    def run(self) -> None:
        """Poll until the stop event is set."""
        for _turn in self.turns():
            pass

    def turns(self) -> Iterator[None]:
        """Poll until the stop event is set; yields after every turn, before the pause that it wants."""
        while not self._stop.is_set():
            self._pulse.beat()
            pause = self.turn()
            yield
            self._stop.wait(pause.total_seconds())
        self._queue.close()

    def turns_while_full(self) -> Iterator[None]:
        """Poll as long as batches come full: there is more than one poller can take. Yields after each such turn."""
        self.full = True
        while self.needs_help and not self._stop.is_set():
            self.turn()
            if self.needs_help:
                yield
        self._queue.close()

    def turn(self) -> timedelta:
        """Poll once, whatever happens; returns how long to pause before the next turn."""
        try:
            started = clock.monotonic()
            found = self.poll_once()
            self._recovered()
        except UnavailableError as error:
            return self._failed(error)
        except Exception:  # a defect of ours must not end the loop: it is told and the messages come again
            log.exception("poll.crashed", queue=self._queue.name)
            self.full = False
            return self._pause()
        return self._rest(found, timedelta(seconds=clock.monotonic() - started))

    def poll_once(self) -> int:
        """One batch through receive, decode, record, delete; returns its size."""
        started = clock.monotonic()
        messages = self._queue.receive(limit=self._batch, wait=self._wait)
        self._meter.polled(self._queue.name, messages=len(messages), seconds=clock.monotonic() - started)
        self.idle, self.full = not messages, len(messages) == self._batch
        if messages:
            recorded = self._intake.record(self._queue.name, messages)
            self._meter.recorded(self._queue.name, recorded)
            self._delete(messages)
        return len(messages)

    def _delete(self, messages: Sequence[Message]) -> None:
        left = self._queue.delete(messages)
        self._meter.deleted(self._queue.name, messages=len(messages) - len(left), failed=len(left))
        if left:  # they come again and are then counted as duplicates
            log.info("messages.not_deleted", queue=self._queue.name, count=len(left))

    def _rest(self, found: int, took: timedelta) -> timedelta:
        """MNS answers a long poll at once when too many are open; without a rest that would be a hot loop."""
        early = self._wait - took
        return min(early, LONGEST_REST) if not found and early > self._wait / 10 else timedelta(0)

    def _failed(self, error: UnavailableError) -> timedelta:
        self.idle, self.full, self.trouble = False, False, error
        if self._stop.is_set():
            return timedelta(0)
        if isinstance(error, QueueUnavailable):
            self._meter.queue_failed(self._queue.name, error.kind)
        event = "store.unavailable" if isinstance(error, StoreUnavailable) else "queue.unavailable"
        self._warnings.warning(event, queue=self._queue.name, kind=error.kind, error=str(error))
        return self._pause()

    def _pause(self) -> timedelta:
        pause = BACKOFF.delay(self._failures, jitter=random.random())
        self._failures += 1
        return pause

    def _recovered(self) -> None:
        self.trouble = None
        if self._failures:
            log.info("queue.recovered", queue=self._queue.name, failures=self._failures)
            self._failures = 0
            self._warnings.reset()


class NullDeliverySink:
    """For a process that records but runs no handlers: the daemon finds what there is to do in the store."""

    def claim(self, wanted: int) -> None:
        return None

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        raise AssertionError("nothing was claimed")

    def wake(self) -> None:
        return None
