"""What operators can do to rows, by the present settings: the API, the command line and the pages all call this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from listener.core import clock
from listener.core.ports import Decide
from listener.intake.record_log import RecordLog
from listener.intake.recorder import decode_again
from listener.rules import routing
from listener.settings.sections import Settings
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries, PendingDeliveries
from listener.store.parked import ParkedResults
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.row_actions import Changed
from listener.store.sql_store import SqlStore


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Each method changes rows with these ids in one transaction; ``dry_run`` only finds out what it would change."""

    store: SqlStore
    settings: Settings
    _log: RecordLog = field(default_factory=RecordLog)

    def replay_dead_letters(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Make dead letters pending, by the current routes, with all their attempts."""
        letters = DeadLetters(self.store.database)
        replayed = letters.replay(ids, self._decide_again(), at=clock.now(), dry_run=dry_run)
        return Changed(replayed.ids, replayed.refused, targets=replayed.targets)

    def drop_dead_letters(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Discard dead letters permanently."""
        letters = DeadLetters(self.store.database)
        return Changed(letters.existing(ids) if dry_run else letters.drop(ids, at=clock.now()))

    def retry_deliveries(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Make pending deliveries due now."""
        deliveries = Deliveries(self.store.database)
        if dry_run:
            return Changed(PendingDeliveries(self.store.database).existing(ids))
        return Changed(deliveries.retry(ids, at=clock.now()))

    def cancel_deliveries(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Make pending deliveries dead letters."""
        deliveries = Deliveries(self.store.database)
        if dry_run:
            return Changed(PendingDeliveries(self.store.database).existing(ids))
        return Changed(deliveries.cancel(ids, at=clock.now()))

    def retry_quarantined(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Decode quarantined messages again, and record what they contain by the current routes."""
        at = clock.now()
        decide = routing.decider(
            self.settings.rules(), self.settings.correlation_rules(), now=at, wait_over=False
        )
        messages = QuarantinedMessages(self.store.database)
        retried = messages.retry(ids, decode_again, decide, at=at, dry_run=dry_run)
        if not dry_run:
            self._log.write(retried.summary)
        counts = {str(kind): number for kind, number in retried.summary.kinds.items()}
        return Changed(retried.ids, retried.refused, counts)

    def drop_quarantined(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Delete quarantined messages permanently."""
        messages = QuarantinedMessages(self.store.database)
        return Changed(messages.existing(ids) if dry_run else messages.drop(ids))

    def reroute_parked(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Route parked results again, by the current routes."""
        parked = ParkedResults(self.store.database)
        return parked.reroute(ids, self._decide_again(), at=clock.now(), dry_run=dry_run)

    def drop_parked(self, ids: Sequence[int], *, dry_run: bool = False) -> Changed:
        """Let parked results go to no handler."""
        parked = ParkedResults(self.store.database)
        return Changed(parked.existing(ids) if dry_run else parked.drop(ids, at=clock.now()))

    def _decide_again(self) -> Decide:
        """By the current routes. An unknown job does not matter any more: an operator asks for it."""
        correlation = self.settings.correlation_rules().for_recorded()
        return routing.decider(self.settings.rules(), correlation, now=clock.now(), wait_over=True)
