"""Whether callbacks arrive at a queue that is polled, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from listener.core.account import Pipeline
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.exit_codes import ExitCode
from listener.formats.queue_url import as_notify_url, split_queue_url
from listener.formats.service_hosts import mns_host

_TOPIC_ADVICE = (
    "verify in the console of MNS that a subscription of this topic sends to a queue in [[queues]]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledQueue:
    """A queue that the settings name."""

    name: str
    endpoint: str

    def is_at(self, endpoint: str, name: str) -> bool:
        """Whether a URL means this queue. Unless both hosts are those of MNS, only the names can be compared."""
        ours, theirs = mns_host(self.endpoint), mns_host(endpoint)
        same_place = not (ours and theirs) or (ours.account, ours.region) == (theirs.account, theirs.region)
        return self.name == name and same_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What of the settings decides where callbacks of one tenant go."""

    tenant: str = ""
    section: str = "mps"  #: or ``tenants.NAME.mps``
    notify_url: str = ""
    polled: Sequence[PolledQueue] = ()

    def result(
        self, kind: CheckKind, level: Level, detail: str, advice: str = "", exit_code: ExitCode = ExitCode.OK
    ) -> CheckResult:
        return CheckResult(
            level=level, kind=kind, subject=self.tenant, detail=detail, advice=advice, exit_code=exit_code
        )


def judge_notify_url(to: Destination) -> CheckResult:
    """Whether the callbacks of jobs that are submitted with the NotifyUrl of the settings arrive here."""
    setting, url = f"{to.section}.notify_url", to.notify_url
    if not url:
        return to.result(
            CheckKind.NOTIFY_URL,
            Level.OK,
            f"{setting} is not set: jobs without a pipeline use the tenant's only queue, or name their NotifyUrl",
        )
    try:
        endpoint, name = split_queue_url(as_notify_url(url))
    except ValueError as error:
        advice = f"fix {setting}"
        return to.result(CheckKind.NOTIFY_URL, Level.FAILED, f"{setting}: {error}", advice, ExitCode.CONFIG)
    if any(queue.is_at(endpoint, name) for queue in to.polled):
        return to.result(CheckKind.NOTIFY_URL, Level.OK, f"callbacks go to the queue {name}, which is polled")
    return to.result(
        CheckKind.NOTIFY_URL,
        Level.WARNING,
        f"{setting} = {url!r}: callbacks go to a queue that no [[queues]] entry polls; polled: {_names(to)}",
        f"add this queue to [[queues]], or fix {setting}",
    )


def judge_pipeline(wanted: str, pipeline: Pipeline | None, to: Destination) -> CheckResult:
    """Whether the pipeline of the settings, as MPS reports it, works and sends callbacks here."""
    setting = f"{to.section}.pipeline = {wanted!r}"
    if pipeline is None:
        return to.result(
            CheckKind.PIPELINE,
            Level.FAILED,
            f"{setting} does not exist in this account and region",
            "use the id of a pipeline from the console of MPS",
            ExitCode.UNAVAILABLE,
        )
    if pipeline.state and pipeline.state != "Active":
        return to.result(
            CheckKind.PIPELINE,
            Level.WARNING,
            f"{setting} is {pipeline.state}: its jobs do not run",
            "activate the pipeline in the console of MPS",
        )
    return _judge_binding(setting, pipeline, to)


def _judge_binding(setting: str, pipeline: Pipeline, to: Destination) -> CheckResult:
    kind, polled = CheckKind.PIPELINE, [queue.name for queue in to.polled]
    if pipeline.queue in polled:
        detail = f"{setting} is active, and bound to the queue {pipeline.queue}, which is polled"
        return to.result(kind, Level.OK, detail)
    if pipeline.queue:
        return to.result(
            kind,
            Level.WARNING,
            f"{setting} sends callbacks to the queue {pipeline.queue}, which no [[queues]] entry polls; "
            f"polled: {_names(to)}",
            "bind the pipeline to a polled queue, or add its queue to [[queues]]",
        )
    if pipeline.topic:
        return to.result(
            kind, Level.OK, f"{setting} is active, and bound to the topic {pipeline.topic}", _TOPIC_ADVICE
        )
    if to.notify_url:
        return to.result(
            kind, Level.OK, f"{setting} is active; it is bound to no queue, so jobs need a NotifyUrl"
        )
    return to.result(
        kind,
        Level.WARNING,
        f"{setting} is bound to no queue: a job without a NotifyUrl has no callback",
        f"set {to.section}.notify_url, or bind the pipeline to a polled queue",
    )


def _names(to: Destination) -> str:
    return ", ".join(queue.name for queue in to.polled) or "none of this tenant"
