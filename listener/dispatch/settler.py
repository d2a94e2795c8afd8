"""Writes the outcomes of attempts to the store, in batches, and repeats that until it succeeds."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from listener.core import clock
from listener.core.errors import StoreUnavailable
from listener.core.logger import get_logger
from listener.core.model import Done, Offered, Settlement
from listener.core.ports import DeliveryStore, HeartbeatSink, Meter
from listener.dispatch.delivery_log import log_fields, log_settlement
from listener.dispatch.delivery_trace import trace_settlements
from listener.dispatch.inflight import InFlight
from listener.dispatch.store_guard import StoreGuard
from listener.runtime.liveness import IDLE_BEAT

log = get_logger(__name__)

#: How many settlements one transaction writes at most.
SETTLE_BATCH = 256
#: How long outcomes are collected while the queue is deep and handlers are fast: a transaction costs as much as 200 of
#: them. After a crash, handlers are called again for outcomes that were not written.
COLLECTING_TIME = timedelta(milliseconds=5)
#: How long to wait before settling again while the store is unavailable.
STORE_RETRY_INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch: the ids, of the objects, of the settlements that had no effect."""

    late: Set[int]  #: ignored, since another attempt had begun
    rejected: Set[int] = frozenset()  #: not written at all


class Settler:
    """One thread that settles what workers put into its queue."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        in_flight: InFlight,
        meter: Meter,
        guard: StoreGuard,
        on_settled: Callable[[Sequence[Settlement]], None],
        cut_short: threading.Event,
        heartbeat: HeartbeatSink,
    ) -> None:
        self._store = store
        self._in_flight = in_flight
        self._meter = meter
        self._guard = guard
        self._on_settled = on_settled
        self._cut_short = cut_short
        self._heartbeat = heartbeat
        self._finished: queue.SimpleQueue[Settlement | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, settlement: Settlement) -> None:
        """Settle this soon; returns at once."""
        self._finished.put(settlement)

    def end(self) -> None:
        """Settle what was put until now, and end the thread."""
        self._finished.put(None)
        self._thread.join()

    def report(self, settlements: Sequence[Settlement], *, late: Set[int] = frozenset()) -> None:
        """Count and log the outcomes of attempts. ``late``: the ids, of the objects, of those without effect."""
        ended = [each for each in settlements if not isinstance(each.outcome, Offered)]  # by its application
        for is_late in (False, True):
            if counted := [each for each in ended if (id(each) in late) is is_late]:
                self._meter.settled(counted, late=is_late)
        verbose = log.is_enabled_for(logging.DEBUG)
        for each in settlements:
            is_late = id(each) in late
            if verbose or is_late or not isinstance(each.outcome, Done | Offered):
                log_settlement(each, late=is_late)

    def _run(self) -> None:
        running = True
        while running:
            self._heartbeat.beat()
            batch, running = self._next_batch()
            if batch:
                self._settle(batch)
        self._heartbeat.pause()

    def _next_batch(self) -> tuple[list[Settlement], bool]:
        """Wait briefly for an outcome, then take all that there are; and whether to continue after these."""
        batch: list[Settlement] = []
        try:
            finished = self._finished.get(timeout=IDLE_BEAT.total_seconds())
            if self._in_flight.is_deep:
                self._cut_short.wait(COLLECTING_TIME.total_seconds())
            while finished is not None:
                batch.append(finished)
                if len(batch) == SETTLE_BATCH:
                    return batch, True
                finished = self._finished.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        """Repeated until it succeeds: the handlers have run, only the store does not know it yet."""
        while (written := self._guard.attempt("settle", lambda: self._write(settlements))) is None:
            self._heartbeat.beat()
            if self._cut_short.wait(STORE_RETRY_INTERVAL.total_seconds()):
                log.error(
                    "settlements.lost",
                    count=len(settlements),
                    hint="the deliveries run again when their leases expire",
                )
                return
        self._in_flight.release([settlement.delivery for settlement in settlements])
        self._guard.attempt("follow settlements", lambda: self._follow(settlements, written))

    def _write(self, settlements: Sequence[Settlement]) -> Written:
        since = clock.now()
        written = self._written(settlements, at=since)
        without_effect = written.late | written.rejected
        trace_settlements([each for each in settlements if id(each) not in without_effect], since=since)
        return written

    def _written(self, settlements: Sequence[Settlement], *, at: datetime) -> Written:
        try:
            late = self._store.settle(settlements, at=at)
        except StoreUnavailable:
            raise
        except Exception:  # one of them at least cannot be written; the log names it
            answers = [(settlement, self._write_alone(settlement)) for settlement in settlements]
            return Written(
                late={id(settlement) for settlement, late in answers if late},
                rejected={id(settlement) for settlement, late in answers if late is None},
            )
        return Written(late={id(settlement) for settlement in late})

    def _write_alone(self, settlement: Settlement) -> bool | None:
        """Write one outcome, if need be without what the store rejects; returns whether it came too late, or None if
        it could not be written."""
        for each in (settlement, _with_plain_reason(settlement)):
            try:
                return bool(self._store.settle([each], at=clock.now()))
            except StoreUnavailable:
                raise
            except Exception as error:  # others are to be written all the same
                rejection = error
        log.error(
            "settlement.rejected",
            **log_fields(settlement.delivery),
            error=str(rejection),
            hint="the delivery runs again when its lease expires",
        )
        return None

    def _follow(self, settlements: Sequence[Settlement], written: Written) -> None:
        """What else is to be done about outcomes, once they are written."""
        self._on_settled(settlements)
        known = [each for each in settlements if id(each) not in written.rejected]
        self.report(known, late=written.late)


def _with_plain_reason(settlement: Settlement) -> Settlement:
    """The same outcome; its reason is reduced to printable ASCII, which every database can hold."""
    outcome = settlement.outcome
    if isinstance(outcome, Done | Offered):
        return settlement
    return replace(settlement, outcome=replace(outcome, reason=ascii(outcome.reason)[1:-1]))
