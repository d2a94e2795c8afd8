"""decode → record: makes results of messages, routes them and writes them to the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from listener.core import clock
from listener.core.errors import StoreUnavailable, Undecodable
from listener.core.logger import get_logger
from listener.core.model import (
    Claim,
    DecodedMessage,
    Delivery,
    EndedJob,
    Message,
    Quarantined,
    RecordSummary,
    Result,
    Unverified,
    make_decoded_message,
)
from listener.core.ports import Decide, DeliverySink, ResultStore
from listener.formats.callback import decode
from listener.intake.isolation import original_body, record_one_by_one
from listener.intake.record_log import RecordLog
from listener.intake.record_trace import trace_recorded
from listener.rules.routing import Correlation, Rule, decider

log = get_logger(__name__)

#: How many waiting results one transaction decides about at most; recording waits for it.
WAITING_BATCH = 500


def _nothing() -> None:
    """For a process in which nothing waits: the daemon finds what was recorded in the store."""


def _ignored(_recorded: object) -> None:
    """For a process that counts nothing."""


class Recorder:
    """One for all pollers of the process, and for the reconciler. Safe to use from several threads."""

    def __init__(
        self,
        *,
        store: ResultStore,
        rules: Sequence[Rule],
        correlation: Correlation,
        sink: DeliverySink,
        on_unverified: Callable[[], None] = _nothing,
        on_decided: Callable[[RecordSummary], None] = _ignored,
        on_recorded: Callable[[], None] = _nothing,
        on_ended: Callable[[Sequence[EndedJob]], None] = _ignored,
    ) -> None:
        """``on_unverified`` is called when callbacks were recorded that MPS has to confirm, ``on_decided`` when results
        that had waited, or were being verified, got their decision, ``on_recorded`` after each transaction, and
        ``on_ended`` when outcomes of jobs were recorded.
        """
        self._store = store
        self._rules = rules
        self._correlation = correlation
        self._sink = sink
        self._on_unverified = on_unverified
        self._on_decided = on_decided
        self._on_recorded = on_recorded
        self._on_ended = on_ended
        self._record_log = RecordLog()
        self._waiting_until: datetime | None = None
        #: Whether there was not enough capacity for the last batch, or soon will not be: handlers are slower than the
        #: queue.
        self.overflows = False

    @property
    def has_waiting(self) -> bool:
        """Whether this process recorded results that wait for their jobs and may be due for a decision."""
        return self._waiting_until is not None

    def use(self, rules: Sequence[Rule], correlation: Correlation) -> None:
        """Route by these from the next batch on."""
        self._rules, self._correlation = rules, correlation

    def record(self, queue: str, messages: Sequence[Message]) -> RecordSummary:
        """Decode and record one batch; once this returns, it is durable. Raises StoreUnavailable.

        A message that the store rejects is quarantined.
        """
        return self._record([decode_message(queue, message) for message in messages])

    def record_found(self, results: Sequence[Result]) -> RecordSummary:
        """Record results that no queue brought: MPS was queried, or a job is considered lost. Raises
        StoreUnavailable. A result that the store rejects is quarantined."""
        return self._record([DecodedMessage(result=result) for result in results])

    def decide_waiting(self, *, only_known: bool = False, limit: int = WAITING_BATCH) -> bool:
        """Route waiting results whose wait is over or whose job has become known; with ``only_known`` only the latter,
        for the time in which the clock cannot tell whether a wait is over. Returns whether more may be due.

        Raises StoreUnavailable.
        """
        at = clock.now()
        decide = decider(self._rules, self._correlation, now=at, wait_over=True)
        last = self._waiting_until
        summary = self._committed(
            self._store.decide_waiting(decide, at=at, limit=limit, only_known=only_known), since=at
        )
        self._follow(summary)
        self._on_decided(summary)
        more = summary.decided == limit
        # Unless another batch, recorded meanwhile, waits for longer.
        if not (more or only_known) and last and at > last and self._waiting_until == last:
            self._waiting_until = None
        return more

    def believe(self, unverified: Unverified, result: Result) -> RecordSummary:
        """Record this result in place of a callback, after MPS was asked about it. Raises StoreUnavailable."""
        at = clock.now()
        decide = decider(self._rules, self._correlation.for_verified(), now=at, wait_over=True)
        summary = self._claiming(
            1,
            lambda claim: self._committed(
                self._store.believe(unverified, result, decide, at=at, claim=claim), since=at
            ),
        )
        self._on_decided(summary)
        return summary

    def report_counts(self) -> None:
        """Log the counts of lines that were too many to be logged; to be called now and then."""
        self._record_log.report_counts()

    def _record(self, batch: Sequence[DecodedMessage]) -> RecordSummary:
        at = clock.now()
        decide = decider(self._rules, self._correlation, now=at, wait_over=False)
        summary = self._claiming(len(batch), lambda claim: self._write(batch, decide, at=at, claim=claim))
        self.overflows = summary.deliveries > len(summary.claimed) or self._sink.falls_behind
        if summary.waiting:
            self._waiting_until = at + self._correlation.wait
        return summary

    def _write(
        self, batch: Sequence[DecodedMessage], decide: Decide, *, at: datetime, claim: Claim | None
    ) -> RecordSummary:
        try:
            summary = self._store.record(batch, decide, at=at, claim=claim)
        except StoreUnavailable:
            raise
        except Exception:  # one entry at least cannot be recorded; the log names it
            committed = partial(self._committed, since=at)
            return record_one_by_one(self._store, batch, decide, at=at, on_recorded=committed)
        return self._committed(summary, since=at)

    def _claiming(self, wanted: int, write: Callable[[Claim | None], RecordSummary]) -> RecordSummary:
        """Write results, and claim their deliveries as far as there is capacity."""
        claim = self._sink.claim(wanted)
        summary = RecordSummary()
        try:
            summary = write(claim)
        finally:
            if claim:
                self._sink.take(claim, summary.claimed)
        self._follow(summary)
        return summary

    def _committed(self, summary: RecordSummary, *, since: datetime) -> RecordSummary:
        """Log and trace what was committed: before the sink takes it, so that what follows it comes later."""
        self._record_log.write(summary)
        trace_recorded(summary, since=since)
        return summary

    def _follow(self, summary: RecordSummary) -> None:
        """Let the sink claim the deliveries that were not claimed when they were recorded, have MPS asked, count the
        outcomes, and tell those who wait for them."""
        self._on_recorded()
        if summary.ended:
            self._on_ended(summary.ended)
        if summary.deliveries > len(summary.claimed):
            self._sink.wake()
        if summary.verifying:
            self._on_unverified()


def decode_message(queue: str, message: Message) -> DecodedMessage:
    """The message with its result, or with the reason why it has none."""
    try:
        return make_decoded_message(queue=queue, message=message, result=decode(message.body))
    except Undecodable as error:
        return DecodedMessage(queue=queue, message=message, result=None, reason=error.reason)
    except Exception as error:  # a bug in mns-listener must not block the others: quarantine this one
        log.exception("decode.crashed", queue=queue, message_id=message.message_id)
        reason = f"internal error while decoding (a bug in mns-listener): {type(error).__name__}"
        return DecodedMessage(queue=queue, message=message, result=None, reason=reason)


def decode_again(entry: Quarantined) -> DecodedMessage:
    """The same for a message from quarantine."""
    return decode_message(entry.queue, replace(entry.message, body=original_body(entry)))


class NullDeliverySink:
    """For a process that records but runs no handlers: the daemon finds the deliveries in the store."""

    def claim(self, wanted: int) -> None:
        return None

    def take(self, claim: Claim, claimed: Sequence[Delivery]) -> None:
        raise AssertionError("nothing was claimed")

    def wake(self) -> None:
        return None

    @property
    def falls_behind(self) -> bool:
        return False
