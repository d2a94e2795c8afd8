"""Explains messages, recorded results and jobs: joins what the store knows with the settings.

What follows from both is decided in ``listener/rules/explanation.py``. Only reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from listener.core import clock
from listener.core.errors import NotFound
from listener.core.job_kinds import WORKFLOW
from listener.core.model import SUCCESS, Delivery, Job, JobState, Result, ResultStatus, Target
from listener.intake.isolation import original_body
from listener.rules import explanation
from listener.rules import route_reasons as reasons
from listener.rules.explanation import Explanation, Known, Setup
from listener.rules.route_reasons import RouteReason
from listener.rules.routing import Rule
from listener.settings.sections import Settings, mps_section
from listener.store.dead_letters import DeadLetters
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.queries import Queries, StoredResult

if TYPE_CHECKING:
    from listener.store.database import Database

#: Results that still wait for their job, or for MPS.
_OPEN: Final = (ResultStatus.WAITING, ResultStatus.VERIFYING)
#: How many results of a job are explained at a time, unless another number is asked for.
PAGE: Final = 50
#: In place of the id of a job that MPS has not assigned yet.
_NO_ID: Final = "(not known yet)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedDelivery:
    """A delivery of a recorded result, and how far it has come."""

    id: int
    route: str
    handler: str
    state: str
    attempt: int
    failures: int
    next_at: datetime | None
    settled_at: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedResult:
    """A recorded result: what was decided about it then, and what the settings of now mean for it."""

    id: int
    status: str
    received_at: datetime
    copies: int
    contradictions: int
    deliveries: tuple[ExplainedDelivery, ...]
    explanation: Explanation  #: its outcome is what a rerouting now would lead to


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedJob:
    """A job, its results, and what it waits for."""

    name: str
    job: Job | None  #: None if only results of it are in the store
    awaited: str  #: what happens next, as a sentence
    if_it_succeeds: Explanation | None  #: of a job without an outcome: where that would go
    results: tuple[ExplainedResult, ...]  #: a page of them
    next: int | None = None  #: the ``before`` of the page with older results; None if there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedMessage:
    """A message in quarantine, and what would happen if it was retried."""

    id: int
    message_id: str
    reason: str  #: why it is there
    received_at: datetime
    copies: int
    explanation: Explanation


def parked_reasons(
    queries: Queries, rules: Sequence[Rule], page: Sequence[StoredResult]
) -> Mapping[int, str]:
    """Why each parked result of a page went to no route, by its id: the route that came nearest."""
    parked = [stored for stored in page if stored.status == ResultStatus.PARKED]
    jobs = queries.jobs_of([stored.id for stored in parked])
    return {
        stored.id: reasons.nearest_text(
            reasons.route_reasons(rules, stored.result, job=jobs.get(stored.id), queue=stored.queue)
        )
        for stored in parked
    }


def reasons_of(queries: Queries, rules: Sequence[Rule], stored: StoredResult) -> Sequence[RouteReason]:
    """Why a result matches each route or not; the route that came nearest is the first."""
    job = queries.jobs_of([stored.id]).get(stored.id)
    return reasons.nearest_first(reasons.route_reasons(rules, stored.result, job=job, queue=stored.queue))


class Explanations:
    """Each method asks the store once or twice, and raises NotFound for what it does not have."""

    def __init__(self, settings: Settings, database: Database | None) -> None:
        """Without a database, no job is known."""
        self._settings = settings
        self._database = database
        correlation = settings.correlation_rules()
        self._asked_tenants = correlation.verification.tenants
        self._setup = Setup(
            rules=settings.rules(),
            correlation=correlation,
            unenriched=frozenset(route.name for route in settings.routes if not route.enrich),
            pulled=frozenset(
                Target(route.name, handler.label)
                for route in settings.routes
                for handler in route.handlers
                if handler.use == "pull"
            ),
            max_wait=settings.enrich.max_wait,
        )

    @property
    def default_queue(self) -> str:
        """The first one, for a message of which nothing is known but its body."""
        return self._settings.queues[0].label if self._settings.queues else ""

    def message(self, body: str, *, queue: str | None = None) -> Explanation:
        """What would happen to a message with this body, if this queue brought it."""
        queue = self.default_queue if queue is None else queue
        reading, result = explanation.read(body)
        if result is None:
            return explanation.undecodable(reading, queue=queue)
        return explanation.explain(
            result, self._known(result), self._setup, queue=queue, now=clock.now(), reading=reading
        )

    def quarantined(self, row: int) -> ExplainedMessage:
        """A message in quarantine."""
        entry = QuarantinedMessages(self._store).find(row)
        if entry is None:
            raise NotFound(
                f"no quarantined message has the id {row}; list them with `mns-listener quarantine list`"
            )
        return ExplainedMessage(
            id=entry.id,
            message_id=entry.message.message_id,
            reason=entry.reason,
            received_at=entry.received_at,
            copies=entry.copies,
            explanation=self.message(original_body(entry), queue=entry.queue),
        )

    def result(self, row: int) -> ExplainedResult:
        """A recorded result, parked or not, by the id of its row."""
        queries = Queries(self._store)
        if (stored := queries.result(row)) is None:
            raise NotFound(f"no result has the id {row}; list them with `mns-listener results list`")
        return self._explained(stored, queries.jobs_of([row]).get(row), queries.deliveries_of(row))

    def dead_letter(self, row: int) -> ExplainedResult:
        """The result of this dead letter."""
        if DeadLetters(self._store).find(row) is None:
            raise NotFound(
                f"no dead letter has the id {row}; list them with `mns-listener dead-letters list`"
            )
        return self.result(Queries(self._store).result_of_delivery(row) or 0)

    def job(self, name: str, *, before: int = 0, limit: int = PAGE) -> ExplainedJob | None:
        """The job with this id, run id, reference or token; None if the store knows nothing of it.

        Of its results so many, the newest ones before the one with the id ``before``.
        """
        if self._database is None:
            return None
        history = Queries(self._database).history(name, before=before, limit=limit)
        if history is None:
            return None
        of_result: dict[str, list[Delivery]] = {}
        for delivery in history.deliveries:
            of_result.setdefault(delivery.result.dedup_key, []).append(delivery)
        return ExplainedJob(
            name=name,
            job=history.job,
            awaited=self._awaited(name, history.job),
            if_it_succeeds=self._if_it_succeeds(history.job) if history.job else None,
            results=tuple(
                self._explained(stored, history.job, of_result.get(stored.result.dedup_key, ()))
                for stored in history.results
            ),
            next=history.next or None,
        )

    @property
    def _store(self) -> Database:
        if self._database is None:
            raise NotFound("without the store, only messages can be explained")
        return self._database

    def _known(self, result: Result) -> Known:
        if self._database is None:
            return Known()
        found = Queries(self._database).correlate(result)
        recorded = found.recorded
        return Known(
            job=found.job,
            found_by=found.found_by,
            recorded_state=recorded.state if recorded else None,
            is_open=bool(recorded and not recorded.decided),
        )

    def _explained(
        self, stored: StoredResult, job: Job | None, deliveries: Sequence[Delivery]
    ) -> ExplainedResult:
        return ExplainedResult(
            id=stored.id,
            status=stored.status,
            received_at=stored.received_at,
            copies=stored.copies,
            contradictions=stored.contradictions,
            deliveries=tuple(map(_delivery, deliveries)),
            explanation=explanation.explain(
                stored.result, Known(job=job), self._setup, queue=stored.queue, now=clock.now()
            ),
        )

    def _if_it_succeeds(self, job: Job) -> Explanation | None:
        if job.finished_at is not None:
            return None
        name = job.job_id or _NO_ID
        result = Result(job_id=name, state=SUCCESS, type=job.kind_name, user_data=job.user_data)
        if job.queried_kind is WORKFLOW:
            result = replace(result, job_id="", run_id=name, type="Report")
        return explanation.explain(
            result,
            Known(job=replace(job, job_id=name)),
            self._setup,
            queue=self.default_queue,
            now=clock.now(),
        )

    def _awaited(self, name: str, job: Job | None) -> str:
        if job is None:
            return "the job itself is not in this store, only what was reported about it"
        if job.state == JobState.REFUSED:
            return f"its submission was refused: {job.error}"
        if job.state == JobState.ACCEPTED:
            served = job.tenant in self._settings.tenants_with_mps
            which = "" if served else f" with [{mps_section(job.tenant)}], which is not in these settings,"
            return f"it is accepted, and waits for a daemon{which} to submit it to MPS"
        if job.finished_at is not None:
            return f"it ended with the state {job.state}; nothing else is awaited"
        if Queries(self._store).any_result_in(name, _OPEN):
            return "a callback has arrived, and waits for its decision"
        return f"{_SUBMISSION.get(job.state, 'its callback is awaited')}; {self._without_callback(job)}"

    def _without_callback(self, job: Job) -> str:
        if job.deadline_at is None or job.overdue_since is None:
            return "it has no deadline, so it is awaited without a limit"
        due = job.deadline_at.isoformat(timespec="seconds")
        lost_at = (job.overdue_since + self._settings.reconcile.timeout).isoformat(timespec="seconds")
        kind = job.queried_kind
        if kind is None or job.tenant not in self._asked_tenants or not job.job_id:
            return f"MPS cannot be asked about it, so it is Lost if there is none until {lost_at}"
        return (
            f"if there is none until {due}, MPS is asked with {kind.queried_by}; "
            f"it is Lost if MPS cannot report on it until {lost_at}"
        )


_SUBMISSION: Final[Mapping[str, str]] = {
    JobState.INTENT: "MPS has not answered its submission yet; its callback is awaited"
}


def _delivery(delivery: Delivery) -> ExplainedDelivery:
    return ExplainedDelivery(
        id=delivery.id,
        route=delivery.target.route,
        handler=delivery.target.handler,
        state=delivery.state,
        attempt=delivery.attempt,
        failures=delivery.failures,
        next_at=delivery.due_at,
        settled_at=delivery.settled_at,
        last_error=delivery.last_error,
    )
