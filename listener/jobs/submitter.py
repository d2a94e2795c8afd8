"""Submits accepted jobs: those that the API has stored and answered without waiting for MPS.

Their order is that of their acceptance; those that a bug stops are tried again after the others. Each becomes an intent
just before its call, by a conditional update that only one process can win: whatever is killed, no job is submitted
twice, and what was not begun is submitted by the next process. A job whose call was under way then is an intent like
any other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from listener.core import clock
from listener.core.errors import MpsRejected, MpsUnavailable, SettingsError, StoreUnavailable
from listener.core.lazy_imports import lazy_imports
from listener.core.logger import get_logger
from listener.core.model import Job, Tenants
from listener.core.ports import AcceptedStore, HeartbeatSink, JobSubmitter
from listener.jobs.concurrent_calls import call_concurrently
from listener.jobs.turns import repeat_turns
from listener.runtime.log_throttle import ThrottledLog

with lazy_imports():  # a daemon that submits nothing does not need it
    from listener.jobs import submission

log = get_logger(__name__)

#: How many calls are under way at the same time, at most.
MAX_CONCURRENCY: Final = 16
#: How many jobs a turn takes for each of them.
JOBS_PER_CALL: Final = 4
#: A turn begins no further call after this time.
TURN_TIME: Final = timedelta(seconds=10)
#: How often to look into the store without being woken: another process may have died.
IDLE_INTERVAL: Final = timedelta(seconds=5)


class Submitter:
    """``turn`` is one turn of the loop, ``run`` repeats it. One per tenant, so that tenants do not block each other."""

    def __init__(
        self,
        *,
        store: AcceptedStore,
        mps: JobSubmitter,
        tenant: str,
        rate_limit: float,
        woken: threading.Event,
        stop: threading.Event,
    ) -> None:
        """``mps`` is that of the tenant; ``rate_limit``: calls per second.

        ``woken`` is set when a job was accepted, and at a stop.
        """
        self._store = store
        self._mps = mps
        self._tenants = Tenants(only=(tenant,))
        #: No more than what gets its turn within about a second, so that a stop or a turn need not wait for long.
        self._concurrency = min(MAX_CONCURRENCY, max(1, int(rate_limit)))
        self._woken = woken
        self._stop = stop
        self._turn_ends = 0.0
        self._failed = False  #: in this turn, MPS was unavailable
        self._failed_turns = 0  #: consecutive ones
        #: Tokens of jobs that could not be submitted in this turn because of a bug.
        self._crashed = set[str]()
        self._after = ""  #: the token of the last one of them: the others come first, then these again
        #: Tokens of jobs that were begun at these times and not sent: to be accepted again.
        self._unsent = dict[str, datetime]()
        self._unsaved = deque[Callable[[], object]]()  #: answers of MPS that could not be stored
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

    def turn(self) -> bool:
        """Submit the jobs that were accepted first; returns whether there may be more. Raises StoreUnavailable.

        While MPS is unavailable it is tried with one job a turn: after a timeout, that may or may not exist.
        """
        for _ in range(len(self._unsaved)):
            submission.save(self._unsaved.popleft(), self._unsaved.append)
        self._accept_unsent_again()
        limit = 1 if self._failed_turns else JOBS_PER_CALL * self._concurrency
        accepted = self._store.accepted_jobs(limit=limit, tenants=self._tenants, after=self._after)
        self._failed = False
        self._crashed.clear()
        self._turn_ends = clock.monotonic() + TURN_TIME.total_seconds()
        try:
            call_concurrently(accepted, self._submit, concurrency=self._concurrency)
        finally:
            self._accept_unsent_again()
        if accepted:
            self._failed_turns = self._failed_turns + 1 if self._failed else 0
        more = len(accepted) == limit
        if self._failed or not more:
            self._after = ""
        elif self._crashed:
            self._after = [job.token for job in accepted if job.token in self._crashed][-1]
        return more

    def _accept_unsent_again(self) -> None:
        for token, begun_at in tuple(self._unsent.items()):
            self._store.accept_again(token, begun_at=begun_at)
            del self._unsent[token]

    def _guarded_turn(self) -> bool:
        try:
            return self.turn()
        except StoreUnavailable:  # logged by the store's observer
            return False
        except Exception:  # a bug must not end the loop
            log.exception("submit.crashed")
            return False

    def _submit(self, job: Job) -> None:
        if not self._may_begin() or clock.monotonic() > self._turn_ends:
            return
        try:
            submission.submit_accepted(
                job,
                store=self._store,
                mps=self._mps,
                may_begin=self._may_begin,
                unsent=self._unsent.__setitem__,
                unsaved=self._unsaved.append,
            )
        except submission.NotBegun:
            pass
        except MpsRejected as error:  # the job is refused
            log.info("job.refused", reference=job.reference, error=str(error))
        except (MpsUnavailable, SettingsError) as error:
            self._failed = True
            kind = error.kind if isinstance(error, MpsUnavailable) else "settings"
            self._warnings.warning("mps.unavailable", doing="submit", kind=kind, error=str(error))
        except StoreUnavailable:
            raise
        except Exception:  # a bug that concerns one job must not hold up the others
            self._crashed.add(job.token)
            log.exception("submit.crashed", reference=job.reference)

    def _may_begin(self) -> bool:
        return not self._failed and not self._stop.is_set()
