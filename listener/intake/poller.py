"""receive → record → delete, one batch after the other, and how long to pause after each.

Messages are deleted only after they were recorded: a crash in between has them delivered again, never lost. While the
queue is deep, several batches are received at the same time, and recorded and deleted together: a transaction costs
much the same whatever it holds, and so does waiting for replies.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from listener.core import clock
from listener.core.errors import QueueUnavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import Message
from listener.core.ports import HeartbeatSink, Meter, Queue
from listener.intake.record_log import log_received
from listener.intake.recorder import Recorder
from listener.rules import backoff
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: How long to pause at most after an empty long poll that MNS answered early: a message that arrives in the meantime
#: waits no longer than this.
MAX_EARLY_PAUSE = timedelta(seconds=1)
#: How many batches are recorded together at most.
MAX_BATCHES: Final = 8
#: No further batch is requested after so many characters: a callback usually has about 1,000, and at most 65,536.
MAX_CHARACTERS: Final = 524_288
#: For how long after the first batch further ones are requested. Together with the time that the last request may take
#: (``CONNECT_TIMEOUT`` and ``REPLY_TIMEOUT`` of the connection) this is far below the usual visibility timeout of 30 s:
#: a connection that dies now does not cause what was received before to be redelivered before it is recorded.
MAX_GATHERING: Final = timedelta(seconds=0.25)


class Poller:
    """Polls one queue. One turn is ``poll_once``; ``run`` only repeats it. For one thread."""

    def __init__(
        self,
        *,
        queue: Queue,
        recorder: Recorder,
        stop: threading.Event,
        meter: Meter,
        heartbeat: HeartbeatSink,
        wait: timedelta,
        batch: int = 16,
    ) -> None:
        self._queue = queue
        self._recorder = recorder
        self._stop = stop
        self._meter = meter
        self._heartbeat = heartbeat
        self._wait = wait
        self._batch = batch
        self._failures = 0
        self._queue_failures = 0
        self._warnings = ThrottledLog(log)
        self._waited = wait  #: for how long MNS could hold the last turn's first request
        self._large = False  #: whether the last messages were so long that no more are received with them
        self.idle = False  #: whether the last turn found the queue empty
        self.full = False  #: whether it brought as many messages as a batch can hold
        self.last_error: UnavailableError | None = None  #: what the last turn failed with

    @property
    def name(self) -> str:
        return self._queue.name

    @property
    def wants_more_pollers(self) -> bool:
        """Whether the queue holds more than this poller can receive, and there is capacity to handle it."""
        return self.full and not self._recorder.overflows

    @property
    def failures(self) -> int:
        """How many turns have failed in a row."""
        return self._failures

    def run(self) -> None:
        """Poll until the stop event is set."""
        for _turn in self.turns():
            pass

    def turns(self) -> Iterator[None]:
        """Poll until the stop event is set; yields after every turn, before the pause that follows it."""
        while not self._stop.is_set():
            self._heartbeat.beat()
            pause = self.turn()
            yield
            self._stop.wait(pause.total_seconds())
        self._queue.close()

    def turns_while_full(self) -> Iterator[None]:
        """Poll as long as ``wants_more_pollers`` holds; yields after each turn after which it does."""
        self.full = True
        try:
            while self.wants_more_pollers and not self._stop.is_set():
                self._heartbeat.beat()
                self.turn()
                if self.wants_more_pollers:
                    yield
        finally:
            self._heartbeat.pause()
            self._queue.close()

    def turn(self) -> timedelta:
        """Poll once, whatever happens; returns how long to pause before the next turn."""
        try:
            started = clock.monotonic()
            found = self.poll_once()
            self._recovered()
        except UnavailableError as error:
            return self._failed(error)
        except Exception:  # a bug in mns-listener must not end the loop; the messages are redelivered
            log.exception("poll.crashed", queue=self._queue.name)
            self.full = False
            return self._back_off()
        return self._pause_after(found, timedelta(seconds=clock.monotonic() - started))

    def poll_once(self) -> int:
        """Receive, decode, record and delete one batch, or several of a deep queue; returns how many messages."""
        messages: list[Message] = []
        try:
            self._gather(messages)
        finally:  # whatever a further request fails with, what was received before it is recorded first
            if messages:
                self._record(messages)
        return len(messages)

    def _gather(self, messages: list[Message]) -> None:
        """Receive a batch and, as long as batches are full, further ones, up to MAX_BATCHES; from a queue that is known
        to be deep, all of them at the same time."""
        deep = self.full and not self._large
        self._waited = timedelta(0) if deep else self._wait
        self._receive(messages, wait=self._waited, requests=MAX_BATCHES if deep else 1)
        if deep:
            return
        until = clock.monotonic() + MAX_GATHERING.total_seconds()
        for _ in range(MAX_BATCHES - 1):
            if not self.full or self._large or clock.monotonic() >= until or self._stop.is_set():
                break
            self._heartbeat.beat()
            self._receive(messages, wait=timedelta(0), requests=1)

    def _receive(self, messages: list[Message], *, wait: timedelta, requests: int) -> None:
        started = clock.monotonic()
        batch = self._queue.receive(limit=self._batch, wait=wait, requests=requests)
        self._meter.polled(self._queue.name, messages=len(batch), seconds=clock.monotonic() - started)
        messages += batch
        self.idle, self.full = not messages, self._is_full(len(batch), requests)
        self._large = sum(len(message.body) for message in messages) > MAX_CHARACTERS
        log_received(self._queue.name, batch)

    def _is_full(self, received: int, requests: int) -> bool:
        """Whether there is probably more: of several batches at the same time, one may have less."""
        return received >= self._batch if requests == 1 else received > self._batch * (requests - 1)

    def _record(self, messages: Sequence[Message]) -> None:
        """Record them in one transaction, then delete them. Each step may take its time-outs, hence the beats."""
        self._heartbeat.beat()
        summary = self._recorder.record(self._queue.name, messages)
        self._meter.recorded(self._queue.name, summary, delays=_delays(messages))
        self._heartbeat.beat()
        try:
            left = self._queue.delete(messages)
        except QueueUnavailable:
            self._meter.deleted(self._queue.name, messages=0, failed=len(messages))
            raise
        self._meter.deleted(self._queue.name, messages=len(messages) - len(left), failed=len(left))
        if left:  # they are redelivered, and then counted as duplicates
            ids = [message.message_id for message in left]
            log.info("messages.not_deleted", queue=self._queue.name, count=len(left), message_ids=ids)

    def _pause_after(self, found: int, took: timedelta) -> timedelta:
        """MNS answers a long poll at once when too many are open; without a pause that would be a busy loop."""
        early = self._waited - took
        return min(early, MAX_EARLY_PAUSE) if not found and early > self._waited / 10 else timedelta(0)

    def _failed(self, error: UnavailableError) -> timedelta:
        self.idle, self.full, self.last_error = False, False, error
        if self._stop.is_set():
            return timedelta(0)
        if isinstance(error, QueueUnavailable):  # the store's observer counts and logs its failures
            self._queue_failures += 1
            self._meter.queue_failed(self._queue.name, error.kind)
            self._warnings.warning(
                "queue.unavailable", queue=self._queue.name, kind=error.kind, error=str(error)
            )
        return self._back_off()

    def _back_off(self) -> timedelta:
        pause = backoff.MNS_BACKOFF.delay(self._failures, jitter=random.random())
        self._failures += 1
        return pause

    def _recovered(self) -> None:
        self.last_error, self._failures = None, 0
        if self._queue_failures:
            log.info("queue.recovered", queue=self._queue.name, failures=self._queue_failures)
            self._queue_failures = 0
            self._warnings.reset()


def _delays(messages: Sequence[Message]) -> Sequence[timedelta]:
    """How long these messages have been on their way; the clock of MNS may be ahead of ours."""
    now = clock.now()
    return [max(now - each.enqueued_at, timedelta()) for each in messages if each.enqueued_at]
