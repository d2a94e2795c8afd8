"""Asks MPS about callbacks before they are believed: whoever may send to the queue can forge one.

What follows from an answer is decided in ``listener/rules/verification.py``; the truth is recorded like a callback.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from listener.core import clock
from listener.core.errors import MpsRejected, StoreRejected, StoreUnavailable, UnavailableError
from listener.core.logger import get_logger
from listener.core.model import Job, Result, Unverified, VerificationOutcome
from listener.core.ports import ClockCheck, HeartbeatSink, Meter, MpsOf, VerificationStore
from listener.intake.recorder import Recorder
from listener.jobs.concurrent_calls import call_concurrently
from listener.jobs.turns import MAX_FAILURES, repeat_turns
from listener.rules import verification
from listener.rules.job_facts import kind_of
from listener.rules.verification import AskAgain, Believe, Refuse, Step
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: The number of callbacks per turn, and of concurrent queries.
CALLBACKS_PER_TURN, CONCURRENCY = 32, 8
#: How long the callbacks of a turn are reserved for this process: longer than a turn usually takes. If one takes
#: longer, MPS is asked twice; only one of the answers has an effect.
CLAIM_DURATION = timedelta(minutes=1)
#: How often to look into the store without being woken: other processes write to it, and postponed callbacks are due.
IDLE_INTERVAL = timedelta(seconds=1)


class Verifier:
    """``turn`` is one turn of the loop, ``run`` repeats it. One per tenant, so that tenants do not block each other."""

    def __init__(
        self,
        *,
        store: VerificationStore,
        recorder: Recorder,
        mps_of: MpsOf,
        tenant_of: Callable[[Job | None, str], str],
        takes: Callable[[str], bool],
        max_wait: timedelta,
        clock_check: ClockCheck,
        meter: Meter,
        woken: threading.Event,
        stop: threading.Event,
    ) -> None:
        """``takes`` accepts the queues of this verifier; ``woken`` is set when there may be something to ask."""
        self._store = store
        self._recorder = recorder
        self._mps_of = mps_of
        self._tenant_of = tenant_of
        self._takes = takes
        self._wait_limit = max_wait
        self._clock_check = clock_check
        self._meter = meter
        self._woken = woken
        self._stop = stop
        self._failures = Counter[str]()  #: consecutive failed calls, by the name of the kind
        self._failed_turns = 0  #: consecutive turns whose last call about each kind failed
        self._warnings = ThrottledLog(log)

    def run(self, heartbeat: HeartbeatSink) -> None:
        """Repeat ``turn`` until the stop event is set."""
        repeat_turns(
            self._guarded_turn,
            failed_turns=lambda: self._failed_turns,
            idle_interval=IDLE_INTERVAL,
            woken=self._woken,
            stop=self._stop,
            heartbeat=heartbeat,
        )

    def turn(self) -> Sequence[VerificationOutcome]:
        """Ask about callbacks that are due. Raises StoreUnavailable."""
        now = clock.now()
        due = self._store.claim_unverified(
            at=now, until=now + CLAIM_DURATION, limit=CALLBACKS_PER_TURN, takes=self._takes
        )
        self._failures.clear()
        found = call_concurrently(due, self.verify, concurrency=CONCURRENCY)
        failed = bool(self._failures) and all(self._failures.values())
        self._failed_turns = self._failed_turns + 1 if failed else 0
        return [outcome for _, outcome in found]

    def verify(self, unverified: Unverified) -> VerificationOutcome:
        """Ask MPS about one callback, and carry out what follows. Raises StoreUnavailable."""
        step = self._asked(unverified)
        self._carry_out(unverified, step)
        self._meter.verified(unverified.queue, step.outcome)
        return step.outcome

    @property
    def _max_wait(self) -> timedelta:
        """How long a callback may wait; without a limit until it is certain that the clock is right."""
        return self._wait_limit if self._clock_check.confirmed else timedelta.max

    def _guarded_turn(self) -> bool:
        """Run a turn; returns whether more callbacks may be due."""
        try:
            return len(self.turn()) == CALLBACKS_PER_TURN
        except StoreUnavailable:  # logged by the store's observer
            return False
        except Exception:  # a bug must not end the loop
            log.exception("verify.crashed")
        return False

    def _asked(self, unverified: Unverified) -> Step:
        """What follows from the answer of MPS."""
        if self._stop.is_set():
            return AskAgain(clock.now())
        mps = self._mps_of(self._tenant_of(unverified.job, unverified.queue))
        kind = kind_of(unverified.result, unverified.job)
        # Left to a process that knows the kind.
        if unverified.job is not None and unverified.job.has_newer_kind:
            return verification.after_outage(unverified, now=clock.now(), max_wait=self._max_wait)
        if mps is None or kind is None:  # no longer configured, or known to another release only
            return Believe(unverified.result, VerificationOutcome.UNVERIFIED)
        if self._failures[kind.name] >= MAX_FAILURES:
            return verification.after_outage(unverified, now=clock.now(), max_wait=self._max_wait)
        try:
            answer = mps.query(_id(unverified), kind=kind).result
        except MpsRejected as error:
            self._failures[kind.name] = 0
            return verification.after_rejection(
                unverified, str(error), now=clock.now(), max_wait=self._max_wait
            )
        except UnavailableError as error:
            self._failures[kind.name] += 1
            self._warnings.warning("mps.unavailable", doing="verify", kind=error.kind, error=str(error))
            return verification.after_outage(unverified, now=clock.now(), max_wait=self._max_wait)
        self._failures[kind.name] = 0
        return verification.after_answer(unverified, answer, now=clock.now(), max_wait=self._max_wait)

    def _carry_out(self, unverified: Unverified, step: Step) -> None:
        match step:
            case Believe(result=result, outcome=outcome):
                self._believe(unverified, result, outcome)
            case Refuse(reason=reason):
                self._refuse(unverified, reason)
            case AskAgain(at=at):
                self._store.postpone_verification(unverified, until=at)

    def _believe(self, unverified: Unverified, result: Result, outcome: VerificationOutcome) -> None:
        try:
            summary = self._recorder.believe(unverified, result)
        except StoreRejected as error:  # however often it is tried
            self._refuse(unverified, f"verify: the store rejects the answer of MPS: {error}")
        else:
            if summary.kinds:  # else another process has settled it
                _log_believed(unverified, state=result.state, outcome=outcome)

    def _refuse(self, unverified: Unverified, reason: str) -> None:
        if self._store.refuse(unverified, reason, at=clock.now()):
            log.warning("callback.refused", **_fields(unverified), reason=reason)


def _log_believed(unverified: Unverified, *, state: str, outcome: VerificationOutcome) -> None:
    if outcome is VerificationOutcome.CONTRADICTED:
        log.warning("callback.contradicted", **_fields(unverified), mps_state=state)
    elif outcome is VerificationOutcome.UNVERIFIED:
        log.warning("callback.unverified", **_fields(unverified))


def _id(unverified: Unverified) -> str:
    """The id that MPS knows: a workflow's callback has a run id only."""
    return unverified.result.job_id or unverified.result.run_id


def _fields(unverified: Unverified) -> dict[str, str]:
    return {
        "job_id": _id(unverified),
        "state": unverified.result.state,
        "queue": unverified.queue,
        "message_id": unverified.message_id,
    }
