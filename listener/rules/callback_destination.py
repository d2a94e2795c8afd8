"""Whether callbacks arrive at a queue that is polled, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from listener.core.account import Pipeline
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.exit_codes import ExitCode
from listener.formats.queue_url import as_notify_url

_TOPIC_ADVICE = (
    "verify in the console of MNS that a subscription of this topic sends to a queue in [[queues]]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledQueue:
    """A queue that the settings name."""

    name: str  #: at MNS
    label: str  #: in the settings
    notify_url: str  #: that of jobs with callbacks to this queue; empty if its endpoint tells no account

    @classmethod
    def of(cls, name: str, *, label: str, url: str) -> PolledQueue:
        try:
            return cls(name=name, label=label, notify_url=as_notify_url(url))
        except ValueError:
            return cls(name=name, label=label, notify_url="")

    def gets(self, notify_url: str) -> bool:
        """Whether MPS sends callbacks for this NotifyUrl here.

        The endpoint of an emulator or a proxy does not tell the account: then only the names can be compared.
        """
        same_place = self.notify_url in ("", notify_url)
        return same_place and notify_url.rstrip("/").endswith(f"/queues/{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What of the settings decides where callbacks of one tenant go."""

    tenant: str = ""
    section: str = "mps"  #: or ``tenants.NAME.mps``
    notify_url: str = ""
    only_url: str = ""  #: the NotifyUrl that is used without one, if there is only one queue
    polled: Sequence[PolledQueue] = ()  #: with the key of this tenant
    polled_by_others: Sequence[PolledQueue] = ()

    def result(
        self, kind: CheckKind, level: Level, detail: str, advice: str = "", exit_code: ExitCode = ExitCode.OK
    ) -> CheckResult:
        return CheckResult(
            level=level, kind=kind, subject=self.tenant, detail=detail, advice=advice, exit_code=exit_code
        )


def judge_notify_url(to: Destination) -> CheckResult:
    """Whether the callbacks of jobs that are submitted with the NotifyUrl of the settings arrive here."""
    kind, setting, url = CheckKind.NOTIFY_URL, f"{to.section}.notify_url", to.notify_url
    if not url:
        used = (
            f"jobs without a pipeline get that of the only queue, {to.only_url}"
            if to.only_url
            else "each job has to name its NotifyUrl, or a pipeline that is bound to a queue"
        )
        return to.result(kind, Level.OK, f"{setting} is not set: {used}")
    try:
        url = as_notify_url(url)
    except ValueError as error:
        return to.result(kind, Level.FAILED, f"{setting}: {error}", f"fix {setting}", ExitCode.CONFIG)
    for queue in (*to.polled, *to.polled_by_others):
        if queue.gets(url):
            return to.result(kind, Level.OK, f"callbacks go to the queue {queue.label}, which is polled")
    return to.result(
        kind,
        Level.WARNING,
        f"{setting} = {url!r}: callbacks go to a queue that no [[queues]] entry polls; polled: {_names(to)}",
        f"add this queue to [[queues]], or fix {setting}",
    )


def judge_pipeline(wanted: str, pipeline: Pipeline | None, to: Destination, *, name: str = "") -> CheckResult:
    """Whether a pipeline, as MPS reports it, works and sends callbacks here: by default that of the settings."""
    setting = f"{name or f'{to.section}.pipeline'} = {wanted!r}"
    if pipeline is None:
        return to.result(
            CheckKind.PIPELINE,
            Level.FAILED,
            f"{setting} does not exist in this account and region",
            "use the id of a pipeline from the console of MPS",
            ExitCode.CONFIG,
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
    return ", ".join(queue.label for queue in to.polled) or "none of this tenant"
