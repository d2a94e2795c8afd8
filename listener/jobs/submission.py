"""Submits jobs so that none is lost: the intent is stored first, then MPS is called, then the job id is stored.

Our token is part of the user data of the job. If the reply is lost, or this process dies between call and reply, the
callback returns the token together with the job id.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import tenacity

from listener.core import clock
from listener.core.errors import (
    FailureKind,
    MpsRejected,
    MpsUnavailable,
    SettingsError,
    StoreRejected,
    StoreUnavailable,
)
from listener.core.logger import get_logger
from listener.core.model import (
    DecodedMessage,
    Job,
    JobState,
    ResultStatus,
    RoutingDecision,
    Submitted,
)
from listener.core.ports import AcceptedStore, JobStore, JobSubmitter
from listener.formats import user_data
from listener.formats.unicode_text import storable
from listener.jobs.request import JobRequest
from listener.jobs.request_checks import check, corrected
from listener.runtime import tracing

log = get_logger(__name__)

#: After these failures it is certain that MPS did not accept the job.
_NOT_SENT = frozenset(
    {
        FailureKind.REFUSED,
        FailureKind.DNS,
        FailureKind.THROTTLED,
        FailureKind.CREDENTIALS,
        FailureKind.CLOCK,
        FailureKind.DENIED,
    }
)
#: The fields of a job that its request decides, besides the deadline.
_OF_REQUEST = (
    *("reference", "kind", "function", "pipeline", "input", "output", "params", "model", "schedule_params"),
    *("notify_url", "user_data", "tenant"),
)
THROTTLE_TIMEOUT = timedelta(minutes=1)

Save = Callable[[], object]
"""Stores an answer of MPS; may be repeated."""


def submit(
    request: JobRequest,
    *,
    store: JobStore,
    mps: JobSubmitter,
    deadline: timedelta | None = None,
    tenant: str = "",
    region: str = "",
) -> Job:
    """Submit one job; returns it with its id. ``deadline`` applies to a request without one.

    Raises UsageError and SettingsError (nothing was sent), MpsRejected (there is no job) and MpsUnavailable. After
    the last one the job may or may not exist; it stays an intent, and its callback will show.
    """
    request = corrected(request)
    check(request, region=region)
    limit = deadline if request.deadline is None else request.deadline
    about = {"function": request.function, "reference": request.reference}
    with tracing.span("submit", kind="CLIENT", attributes=about) as span:
        intent = replace(_intent(request, deadline=limit, tenant=tenant), trace=span.traceparent)
        job = _submitted(intent, store=store, mps=mps)
        span.set({"job_id": job.job_id})
    return job


def _submitted(job: Job, *, store: JobStore, mps: JobSubmitter) -> Job:
    """Store the intent, call MPS, and store the job's id."""
    store.add_job(job)
    try:
        submitted = _submit_through_throttling(mps, job)
    except (MpsRejected, SettingsError) as error:
        _refuse(store, job, error)
        raise
    except MpsUnavailable as error:
        if _certainly_not_sent(error):
            _refuse(store, job, error)
        raise
    return _bound(job, submitted, store=store)


def _refuse(store: JobStore, job: Job, error: Exception) -> None:
    store.refuse_job(job.token, storable(str(error)), clock.now())


def _bound(job: Job, submitted: Submitted, *, store: JobStore) -> Job:
    """Store what MPS has answered."""
    at = clock.now()
    store.bind_job(job.token, submitted.job_id, at)
    _record_outcome(store, submitted, at=at)
    return replace(job, job_id=submitted.job_id, state=JobState.SUBMITTED, submitted_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request that has been verified, and the job that it would become."""

    request: JobRequest  #: with the defaults of the settings
    job: Job
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that is stored, and submitted soon."""

    job: Job
    warnings: list[str]
    new: bool = True  #: False: the same request has been accepted or submitted before


def accepted(request: JobRequest, *, deadline: timedelta, tenant: str) -> Job:
    """The job of a request that has been checked, to be submitted by ``submit_accepted``.

    Its name is its reference, since it has no id yet: without one, it gets one.
    """
    limit = deadline if request.deadline is None else request.deadline
    job = _intent(request, deadline=limit, tenant=tenant)
    return replace(
        job,
        reference=request.reference or secrets.token_hex(16),
        state=JobState.ACCEPTED,
        trace=tracing.current(),
    )


class NotBegun(Exception):
    """Another process has begun the submission, or this one is about to stop; nothing was sent."""


def submit_accepted(
    job: Job,
    *,
    store: AcceptedStore,
    mps: JobSubmitter,
    may_begin: Callable[[], bool],
    unsent: Callable[[str, datetime], None],
    unsaved: Callable[[Save], None],
) -> None:
    """Submit an accepted job.

    It becomes an intent just before the call, unless ``may_begin`` is False by then. Raises NotBegun; MpsRejected, and
    the job is refused; MpsUnavailable, SettingsError and StoreUnavailable. If nothing was sent although it may be an
    intent by now, ``unsent`` is called with its token and the time of its beginning: it is to be accepted again.
    If the answer of MPS could not be stored, ``unsaved`` is called with what stores it.
    """
    about = {"function": job.function, "reference": job.reference}
    beginning = _Beginning(job=job, store=store, may_begin=may_begin, unsent=unsent)
    with tracing.span("submit", kind="CLIENT", parent=job.trace, attributes=about) as span:
        try:
            submitted = mps.submit(
                job, user_data=user_data.embed_token(job.user_data, job.token), on_turn=beginning.begin
            )
        except MpsRejected as error:
            save(partial(_refuse, store, job, error), unsaved)
            raise
        except MpsUnavailable as error:
            if beginning.at is None:  # another process may have begun it meanwhile
                pass
            elif error.kind is FailureKind.DENIED:  # of this function or pipeline, perhaps: others may go on
                save(partial(_refuse, store, job, error), unsaved)
            elif _certainly_not_sent(error):
                unsent(job.token, beginning.at)
            raise
        span.set({"job_id": submitted.job_id})
    save(partial(_bound, job, submitted, store=store), unsaved)


def save(answer: Save, unsaved: Callable[[Save], None]) -> None:
    """Store an answer of MPS. Raises StoreUnavailable, after ``unsaved`` was called with it."""
    try:
        answer()
    except StoreUnavailable:
        unsaved(answer)
        raise


@dataclass(slots=True, kw_only=True)
class _Beginning:
    """Makes an accepted job an intent, just before its call."""

    job: Job
    store: AcceptedStore
    may_begin: Callable[[], bool]
    unsent: Callable[[str, datetime], None]
    at: datetime | None = None  #: when it was begun here

    def begin(self) -> None:
        """Raises NotBegun or StoreUnavailable."""
        if not self.may_begin():
            raise NotBegun
        at = clock.now()
        try:
            begun = self.store.begin_submission(self.job.token, at=at)
        except StoreUnavailable:  # it may be committed all the same
            self.unsent(self.job.token, at)
            raise
        if not begun:
            raise NotBegun
        self.at = at


def _certainly_not_sent(error: MpsUnavailable) -> bool:
    return error.kind in _NOT_SENT or not error.sent


def submitted_by(job: Job, request: JobRequest, *, tenant: str) -> bool:
    """Whether this request, which has no defaults left to fill in, could have submitted this job."""
    asked = _intent(corrected(request), deadline=request.deadline, tenant=tenant)
    same = all(getattr(asked, name) == getattr(job, name) for name in _OF_REQUEST)
    return same and (request.deadline is None or _time_of(asked) == _time_of(job))


def _time_of(job: Job) -> timedelta | None:
    """How long the job has until its callback is overdue."""
    return job.deadline_at - job.created_at if job.deadline_at else None


@tenacity.retry(
    retry=tenacity.retry_if_exception(lambda error: getattr(error, "kind", None) is FailureKind.THROTTLED),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
    stop=tenacity.stop_after_delay(THROTTLE_TIMEOUT),
    reraise=True,
)
def _submit_through_throttling(mps: JobSubmitter, job: Job) -> Submitted:
    """Submit, and retry while throttled: MPS rejects a throttled call before it has any effect."""
    return mps.submit(job, user_data=user_data.embed_token(job.user_data, job.token))


def _record_outcome(store: JobStore, submitted: Submitted, *, at: datetime) -> None:
    """Some functions return their outcome in the reply and may never send a callback: the reply is a result, too.

    It is recorded as waiting; the daemon, which knows the routes, takes it from there.
    """
    if submitted.outcome is None:
        return
    decision = RoutingDecision(status=ResultStatus.WAITING, wait_until=at)
    try:
        store.record(
            [DecodedMessage(result=submitted.outcome)], lambda _result, _job, _queue: decision, at=at
        )
    except StoreRejected as error:  # the job is submitted all the same; its outcome can still be queried
        log.error("outcome.rejected", job_id=submitted.job_id, error=str(error))


def _intent(request: JobRequest, *, deadline: timedelta | None, tenant: str) -> Job:
    now = clock.now()
    return Job(
        token=secrets.token_urlsafe(16),
        reference=request.reference,
        kind=request.kind,
        function=request.function,
        pipeline=request.pipeline or "",
        input=request.input,
        output=request.output,
        params=request.params_json,
        model=request.model,
        schedule_params=request.schedule_params,
        notify_url=request.notify_url or "",
        user_data=request.complete_user_data,
        created_at=now,
        tenant=tenant,
        deadline_at=now + deadline if deadline is not None else None,
    )
