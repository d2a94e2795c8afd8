"""The listener as a library: submit jobs, register external jobs, wait for outcomes.

The command line uses it too. ::

    import listener

    job = listener.submit("Cover", input="oss://…", output="oss://…{sequenceId}.jpg", data={"article": 7})
    job = listener.wait(job, timeout=600)
    print(job.state, listener.outputs(job))
"""

from __future__ import annotations

import inspect
import json
import math
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from listener.aliyun.mps_pipelines import Pipelines
from listener.aliyun.tenant_clients import TenantClients
from listener.core import clock
from listener.core.check_result import Level
from listener.core.errors import (
    AlreadyExists,
    JobWarning,
    ListenerError,
    MpsRejected,
    MpsUnavailable,
    NotFound,
    ReferenceExists,
    SettingsError,
    UsageError,
)
from listener.core.job_kinds import IPRODUCTION
from listener.core.model import ANSWERED_AT_ONCE, SUCCESS, Job, JobState
from listener.core.outputs import Outputs
from listener.core.ports import MediaProcessing
from listener.dispatch.job_result import outputs_of
from listener.jobs import submission
from listener.jobs.notify_urls import destination_of, notify_url_warnings, only_notify_url
from listener.jobs.request import JobRequest, check_deadline, check_job_id, registered_kind
from listener.jobs.request_checks import check, corrected
from listener.jobs.settings_warnings import route_warnings
from listener.rules.callback_destination import judge_pipeline
from listener.runtime import tracing
from listener.settings.loader import settings_from
from listener.settings.sections import Settings
from listener.store.job_rows import reference_exists
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore

ErrorT = TypeVar("ErrorT", bound=Exception)

#: How often the store is polled while waiting: the first interval, and the maximum.
MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = timedelta(milliseconds=50), timedelta(seconds=1)

#: For how long MPS is not asked again which queue a pipeline is bound to.
PIPELINE_KNOWN_FOR = timedelta(minutes=10)


def warn_caller(text: str) -> None:
    """Issue a JobWarning, at the line outside of this package that called it."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == "listener":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, JobWarning, stacklevel=level)


class Client:
    """A connection to one store and the accounts of its settings. Thread-safe.

    Close it, or use it as a context manager.
    """

    def __init__(
        self,
        settings: Settings | Path | str | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
        clients: TenantClients | None = None,
        store: SqlStore | None = None,
    ) -> None:
        """``create``: the store is created or migrated if that is necessary. ``read_only`` needs no write access to it.
        ``clients`` and ``store`` are used instead of new ones; they stay open when this client is closed.

        Raises SettingsError, also for a store that would have to be created and must not be, and StoreUnavailable.
        """
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._pipelines_lock = threading.Lock()
        self._pipelines: dict[tuple[str, str], tuple[float, list[str]]] = {}
        #: May be replaced, by a reload; the store and the accounts stay.
        self.settings = settings if isinstance(settings, Settings) else settings_from(settings)
        self.clients = clients or TenantClients(self.settings)
        self._owns_store = store is None
        self.store = store or _open_store(self.settings, create=create, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._owns_store:
            self.store.close()

    def check(self, request: JobRequest, *, tenant: str = "") -> list[str]:
        """All warnings about a request. Raises UsageError for values that cannot work."""
        completed = self._completed(request, tenant)
        return [*self._default_warnings(request, completed, tenant), *self._warnings(completed, tenant)]

    def submit(
        self, request: JobRequest, *, tenant: str = "", warn: Callable[[str], None] = warn_caller
    ) -> Job:
        """Submit one job. Raises UsageError, SettingsError, MpsRejected, MpsUnavailable, StoreUnavailable.

        Before anything is sent, ``warn`` is called with each warning of ``check``; by default this is a JobWarning of
        Python's ``warnings``. A default that is not in the settings is mentioned once in the life of this client.
        """
        completed = self._completed(request, tenant)
        for text in self._warnings(completed, tenant):
            warn(text)
        for text in self._default_warnings(request, completed, tenant):
            if self._is_new(text):
                warn(text)
        return submission.submit(
            completed,
            store=self.store,
            mps=self._mps(tenant),
            deadline=self.settings.deadline_of(request.subject, request.complete_user_data),
            tenant=tenant,
            region=self.settings.tenant(tenant).mps.region,
        )

    def submit_once(
        self, request: JobRequest, *, tenant: str = "", warn: Callable[[str], None] = warn_caller
    ) -> tuple[Job, bool]:
        """Submit one job unless the same request has submitted it before; returns it, and whether that was now.

        Its reference tells: if a job with it exists that has the same values, this is the job, also while the reply to
        its submission is still open. Raises ReferenceExists if it has others, and what ``submit`` raises.
        """
        try:
            return self.submit(request, tenant=tenant, warn=warn), True
        except ReferenceExists:
            found = self.store.find_job(request.reference)
            completed = self._completed(request, tenant)
            if found is None or not submission.submitted_by(found, completed, tenant=tenant):
                raise
            return found, False

    def accept(
        self, requests: Sequence[tuple[JobRequest, str]]
    ) -> Sequence[submission.Accepted | ListenerError]:
        """Store jobs, each with its tenant, in one transaction; a daemon on this store submits them soon.

        Answers for each request: the job, or why it is refused. A request whose reference a job with the same values
        has is answered with that job. Raises StoreUnavailable.
        """
        return self.accept_prepared([self.prepare(request, tenant) for request, tenant in requests])

    def prepare(self, request: JobRequest, tenant: str) -> submission.Prepared | ListenerError:
        """Verify a request, for ``accept_prepared``; nothing is stored. Answers why it is refused.

        MPS may be asked about a pipeline that the request names.
        """
        try:
            completed = self._completed(request, tenant)
            default_warnings = self._default_warnings(request, completed, tenant)
            warnings = [*default_warnings, *self._warnings(completed, tenant)]
            self._mps(tenant)
            deadline = self.settings.deadline_of(request.subject, request.complete_user_data)
            job = submission.accepted(completed, deadline=deadline, tenant=tenant)
        except ListenerError as error:
            return error
        return submission.Prepared(request=completed, job=job, warnings=warnings)

    def accept_prepared(
        self, prepared: Sequence[submission.Prepared | ErrorT]
    ) -> Sequence[submission.Accepted | ListenerError | ErrorT]:
        """The same for requests that ``prepare`` has verified. It may be repeated after an error: what was stored all
        the same is found."""
        jobs = [each.job for each in prepared if isinstance(each, submission.Prepared)]
        holders = self.store.accept_jobs(jobs) if jobs else {}
        return [
            _held(each, holders[each.job.reference]) if isinstance(each, submission.Prepared) else each
            for each in prepared
        ]

    def _completed(self, request: JobRequest, tenant: str) -> JobRequest:
        """With the defaults of the settings."""
        mps = self.settings.tenant(tenant).mps
        pipeline = mps.pipeline if request.pipeline is None else request.pipeline
        notify_url = request.notify_url
        if notify_url is None:
            needed = not (mps.notify_url or pipeline or request.function in ANSWERED_AT_ONCE)
            notify_url = only_notify_url(self.settings, tenant) if needed else mps.notify_url
            if request.kind != IPRODUCTION.name:  # whose callbacks go to where their pipeline is bound
                notify_url = ""
        return corrected(replace(request, pipeline=pipeline, notify_url=notify_url))

    def _warnings(self, completed: JobRequest, tenant: str) -> list[str]:
        return [
            *check(completed, region=self.settings.tenant(tenant).mps.region),
            *notify_url_warnings(self.settings, completed.notify_url or ""),
            *self._pipeline_warnings(completed, tenant),
            *route_warnings(self.settings, completed.named_route),
        ]

    def _pipeline_warnings(self, completed: JobRequest, tenant: str) -> list[str]:
        """Whether the callback would not arrive by the pipeline that the request names; MPS is asked now and then.

        That of the settings is verified by ``check``, and a job with a NotifyUrl needs none.
        """
        pipeline = completed.pipeline or ""
        if completed.notify_url or pipeline in ("", self.settings.tenant(tenant).mps.pipeline):
            return []
        now = clock.monotonic()
        with self._pipelines_lock:
            asked_at, warnings = self._pipelines.get((tenant, pipeline), (-math.inf, []))
            if now - asked_at > PIPELINE_KNOWN_FOR.total_seconds():
                warnings = self._judged_pipeline(pipeline, tenant)
                self._pipelines[tenant, pipeline] = now, warnings
            return warnings

    def _judged_pipeline(self, pipeline: str, tenant: str) -> list[str]:
        """Nothing if MPS does not say: the submission itself will show what is wrong."""
        mps = self.clients.mps(tenant)
        if mps is None or not self.settings.queues:
            return []
        try:
            found = Pipelines(mps).find(pipeline)
        except (MpsRejected, MpsUnavailable):
            return []
        to = replace(destination_of(tenant, self.settings), notify_url="")
        judged = judge_pipeline(pipeline, found, to, name="pipeline")
        return [] if judged.level is Level.OK else [f"{judged.detail}; {judged.advice}"]

    def _default_warnings(self, request: JobRequest, completed: JobRequest, tenant: str) -> list[str]:
        """About a NotifyUrl that neither the request nor the settings name."""
        url = completed.notify_url
        if request.notify_url is not None or self.settings.tenant(tenant).mps.notify_url or not url:
            return []
        return [
            f"NotifyUrl is not set; using the only queue in the settings, {url}; set mps.notify_url to it"
        ]

    def _is_new(self, text: str) -> bool:
        """Whether this text has not been seen before."""
        with self._lock:
            new = text not in self._said
            self._said.add(text)
        return new

    def register(
        self,
        job_id: str,
        *,
        kind: str = "",
        function: str = "",
        pipeline: str = "",
        user_data: str | None = None,
        reference: str = "",
        deadline: timedelta | None = None,
        tenant: str = "",
    ) -> Job:
        """Register an externally submitted job; results that arrived earlier stop waiting for it.

        ``job_id`` is a run id if ``kind`` is ``Workflow``. With a kind, or a function of smart production, MPS is
        queried for it once it is overdue. Raises UsageError.
        """
        self.settings.tenant(tenant)
        check_job_id(job_id)
        kind = registered_kind(kind, function)
        if self.store.find_job(job_id):
            raise AlreadyExists(
                f"job {job_id!r} is already registered", hint=f"see `mns-listener jobs show {job_id}`"
            )
        now = clock.now()
        limit = self.settings.deadline_of(function or kind, user_data) if deadline is None else deadline
        check_deadline(limit)
        job = Job(
            token=secrets.token_urlsafe(16),
            job_id=job_id,
            state=JobState.SUBMITTED,
            kind=kind,
            function=function,
            pipeline=pipeline,
            user_data=user_data,
            reference=reference,
            created_at=now,
            submitted_at=now,
            tenant=tenant,
            deadline_at=now + limit,
            trace=tracing.current(),
        )
        self.store.add_job(job)
        return self.find(job_id)

    def find(self, name: str) -> Job:
        """A job by its id, reference or token. Raises NotFound."""
        job = self.store.find_job(name)
        if job is None:
            raise NotFound(
                f"no job {name!r} in this store", field="name", hint="list jobs with `mns-listener jobs list`"
            )
        return job

    def wait(self, job: Job | str, *, timeout: timedelta | float | None = None) -> Job:
        """Wait until the daemon has recorded the outcome; returns the job. Raises TimeoutError and NotFound."""
        name = job if isinstance(job, str) else job.token
        pauses = pauses_until(timeout)
        while (found := self.find(name)).finished_at is None:
            pause = next(pauses, None)
            if pause is None:
                raise timed_out(found, timeout)
            time.sleep(pause)  # polling: the daemon is another process
        return found

    def outputs(self, job: Job | str) -> Outputs | None:
        """What a successful job produced: from the store, or else as MPS reports it now.

        None for any other job, and if MPS refused to report it.

        Raises UsageError, SettingsError, MpsRejected, MpsUnavailable, StoreUnavailable.
        """
        found = self.find(job if isinstance(job, str) else job.token)
        if found.state != SUCCESS:
            return None
        kind = found.queried_kind or IPRODUCTION
        stored = Queries(self.store.database).with_outputs(found.token)
        result = stored or self._mps(found.tenant).query(found.job_id, kind=kind).result
        return outputs_of(result, found)

    def _mps(self, tenant: str) -> MediaProcessing:
        if mps := self.clients.mps(tenant):
            return mps
        raise mps_not_configured()


def _held(prepared: submission.Prepared, holder: Job) -> submission.Accepted | ListenerError:
    """What became of a prepared job, if this is the job that has its reference now."""
    new = holder.token == prepared.job.token
    if not new and not submission.submitted_by(holder, prepared.request, tenant=prepared.job.tenant):
        return reference_exists(prepared.request.reference)
    return submission.Accepted(job=holder, warnings=prepared.warnings, new=new)


def _open_store(settings: Settings, *, create: bool, read_only: bool) -> SqlStore:
    url, timeout = settings.store.url, settings.store.timeout
    if create and not read_only:
        return SqlStore.open(url, timeout=timeout)
    return SqlStore.open_existing(url, timeout=timeout, read_only=read_only)


def mps_not_configured() -> SettingsError:
    return SettingsError("MPS is not configured; set mps.region, e.g. to cn-shanghai, or mps.endpoint")


def pauses_until(timeout: timedelta | float | None) -> Iterator[float]:
    """How long to wait before each further look at the store, in seconds; ends after ``timeout``."""
    limit = _seconds(timeout)
    deadline = None if limit is None else clock.monotonic() + limit
    pause = MIN_POLL_INTERVAL.total_seconds()
    while True:
        left = pause if deadline is None else min(pause, deadline - clock.monotonic())
        if left <= 0:
            return
        yield left
        pause = min(pause * 2, MAX_POLL_INTERVAL.total_seconds())


def timed_out(job: Job, timeout: timedelta | float | None) -> TimeoutError:
    return TimeoutError(
        f"timed out waiting for job {job.job_id or job.token}: no outcome within {_seconds(timeout):g} s"
    )


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


@cache
def _default() -> Client:
    return Client()


def submit(
    function: str = "",
    *,
    input: str = "",
    output: str = "",
    params: Any = "{}",
    route: str = "",
    data: str | Mapping[str, Any] = "",
    user_data: str | None = None,
    tenant: str = "",
    client: Client | None = None,
    **others: Any,
) -> Job:
    """Submit one job with the settings of ./listener.toml and the environment, or with those of ``client``.

    ``function`` is one of smart production; for another kind of job omit it and give its ``kind`` (Transcode, Snapshot,
    MediaInfo). ``params`` is JSON text, a mapping, or a builder of ``listener.jobs.job_params``; ``data`` is text or a
    mapping.
    ``others`` are the further fields of ``listener.jobs.request.JobRequest``. Raises the errors of ``Client.submit``.
    """
    request = JobRequest(
        function=function,
        input=input,
        output=output,
        params=_as_json("params", params),
        route=route,
        data=_as_json("data", data),
        user_data=user_data,
        **others,
    )
    return (client or _default()).submit(request, tenant=tenant)


def _as_json(name: str, value: Any) -> Any:
    """A mapping as JSON text; anything else unchanged."""
    if not isinstance(value, Mapping):
        return value
    try:
        return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} = {value!r} cannot be written as JSON: {error}") from error


def wait(job: Job | str, *, timeout: timedelta | float | None = None, client: Client | None = None) -> Job:
    """Wait until the outcome is recorded; returns the job. ``timeout`` is in seconds. Raises TimeoutError."""
    return (client or _default()).wait(job, timeout=timeout)


def outputs(job: Job | str, *, client: Client | None = None) -> Outputs | None:
    """What a successful job produced; see ``Client.outputs``."""
    return (client or _default()).outputs(job)


def register(job_id: str, *, client: Client | None = None, **fields: Any) -> Job:
    """Register an externally submitted job; the fields are those of ``Client.register``."""
    return (client or _default()).register(job_id, **fields)
