"""The sections of the settings as frozen, validated models.

For the names of environment variables see ``listener.settings.env_overlay``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from listener.core.errors import SettingsError
from listener.core.model import Job
from listener.formats import user_data
from listener.formats.durations import Duration, PositiveDuration, between
from listener.formats.queue_url import split_queue_url
from listener.formats.states import ACTIVITY_STATES, KNOWN_STATES, known_activity_state, known_state
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Match, Rule
from listener.rules.verification import Verification

MAX_BATCH = 16  #: MNS returns at most 16 messages per call


def _off(given: object) -> object:
    return timedelta(0) if given == "off" else given


def _lower_case(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


def _not_bool(given: object) -> object:
    """In Python True is a number, but ``concurrency = true`` is an error."""
    if isinstance(given, bool):
        raise ValueError("must be a number")
    return given


Count = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool)]
#: A longer wait is assumed to be a typing error.
Wait = Annotated[Duration, between("0s", "30d")]
#: How long a job may take.
JobTime = Annotated[Duration, between("0s", "366d")]
DurationOrOff = Annotated[Duration, BeforeValidator(_off)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class StoreSettings(Section):
    """The database of jobs, results and deliveries."""

    #: sqlite:///relative, sqlite:////absolute or postgresql://user@host/name.
    url: str = "sqlite:///listener.db"
    #: How long completed records are kept; 0 or "off": no limit.
    retention: DurationOrOff = timedelta(days=30)
    #: How long a transaction may take; then it fails and is retried.
    timeout: Annotated[Duration, between("1s", "3650d")] = timedelta(seconds=30)
    shared: bool = False  #: whether several daemons may use the same SQLite file


class MpsSettings(Section):
    """The MPS API, for submissions and queries."""

    region: str = ""  #: e.g. cn-shanghai; without region and endpoint, MPS is never called
    endpoint: str = ""  #: e.g. http://127.0.0.1:8470; default: mts.<region>.aliyuncs.com over https
    #: Calls per second in total; the limit of an account is 100.
    rate_limit: Annotated[Number, Field(ge=0.01, le=100)] = 90
    pipeline: str = ""  #: the pipeline of jobs submitted without one
    notify_url: str = ""  #: the NotifyUrl of jobs submitted without one

    @property
    def configured(self) -> bool:
        return bool(self.region or self.endpoint)


class CredentialsSettings(Section):
    """Files that hold the access key; without them the default chain of alibabacloud-credentials is used."""

    access_key_id_file: Path | None = None
    access_key_secret_file: Path | None = None
    security_token_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.access_key_id_file is None) != (self.access_key_secret_file is None):
            raise ValueError(
                "access_key_id_file and access_key_secret_file belong together; set both or neither"
            )
        return self


class CorrelationSettings(Section):
    """How to handle a result whose job is not in the store, and which callbacks MPS has to confirm."""

    unknown: Literal["deliver", "dead-letter", "drop"] = "deliver"
    wait: Wait = timedelta(seconds=5)  #: how long a result waits for its job to be recorded
    verify: Literal["never", "known", "always"] = "known"  #: the jobs whose callbacks MPS has to confirm


class TenantSettings(Section):
    """An additional account or region in the same daemon."""

    credentials: CredentialsSettings = CredentialsSettings()
    mps: MpsSettings = MpsSettings()


class ReconcileSettings(Section):
    """Polls MPS for jobs whose callback is overdue. Requires [mps]; without it such jobs end as Lost."""

    #: Time after submission, unless set for the function, route or job.
    deadline: JobTime = timedelta(hours=6)
    deadlines: dict[str, JobTime] = {}  #: by function, or by another kind of job
    #: How often to check for overdue jobs.
    interval: Annotated[Duration, between("10ms", "1d")] = timedelta(seconds=10)
    initial_backoff: PositiveDuration = timedelta(minutes=1)  #: between the first two queries for a job
    max_backoff: PositiveDuration = timedelta(hours=1)
    #: A job that MPS cannot report on is Lost this long after its deadline.
    timeout: JobTime = timedelta(days=3)

    def backoff(self) -> Backoff:
        return Backoff(self.initial_backoff, self.max_backoff)


class EnrichSettings(Section):
    """Queries MPS for the outputs of successful jobs before their handlers are called."""

    #: A delivery waits this long for MPS, then its handler is called without outputs.
    max_wait: Wait = timedelta(minutes=10)


class DispatchSettings(Section):
    """How handlers are called."""

    concurrency: Annotated[Count, Field(ge=1, le=1000)] = 16
    lease: Annotated[Duration, between("2s", "1d")] = timedelta(seconds=30)
    handler_timeout: PositiveDuration = timedelta(minutes=15)
    #: A handler that runs longer keeps its delivery for this long, before the delivery may run again beside it.
    overrun_timeout: Wait = timedelta(minutes=45)
    #: A delivery whose route or handler no process has in its settings waits this long, then it is a dead letter.
    no_handler_timeout: Wait = timedelta(minutes=10)


class RetrySettings(Section):
    """How often and for how long a delivery is retried."""

    max_attempts: Annotated[Count, Field(ge=1, le=1_000_000)] = 10
    max_elapsed: Duration = timedelta(days=1)
    initial_backoff: Wait = timedelta(seconds=1)
    max_backoff: Wait = timedelta(minutes=10)

    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.max_attempts,
            max_elapsed=self.max_elapsed,
            backoff=Backoff(self.initial_backoff, self.max_backoff),
        )


class ServiceSettings(Section):
    """How the process starts and stops."""

    #: How long running handlers may continue after SIGTERM.
    shutdown_timeout: Annotated[Duration, between("0s", "1d")] = timedelta(seconds=25)


class HttpSettings(Section):
    """The server for health, metrics and the API."""

    #: host:port, on loopback unless there is a token_file; unix:/path/to/socket; or "" to disable it
    listen: str = "127.0.0.1:8471"
    #: Names of this machine that requests may have in their Host header, besides localhost and IP addresses.
    allowed_hosts: tuple[str, ...] = ()
    token_file: Path | None = None  #: lines "read TOKEN" and "write TOKEN"; without it, TCP has no API
    api: bool = True  #: whether there is an API, on a unix socket or with a token_file
    #: How many clients may be connected at the same time; fewer if the process may open few files.
    max_connections: Annotated[Count, Field(ge=1, le=100_000)] = 1024

    @property
    def serves_api(self) -> bool:
        return self.api and (self.listen.startswith("unix:") or bool(self.listen and self.token_file))


class LogSettings(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower_case)] = "info"
    format: Literal["auto", "json", "console"] = "auto"  #: auto: console on a terminal, else JSON


class QueueSettings(Section):
    """One MNS queue to consume."""

    url: str = ""  #: mns://<account>.mns.<region>.aliyuncs.com/queues/<queue>, as in a job's NotifyUrl
    endpoint: str = ""  #: http(s)://…, if it differs from the one in url
    queue: str = ""  #: the name of the queue, if url is not set
    name: str = ""  #: its name in logs, metrics and routes; default: the name of the queue
    tenant: str = ""  #: the [tenants] table whose credentials to use
    wait: Annotated[Duration, between("0s", "30s")] = timedelta(seconds=30)  #: MNS allows at most 30 s
    batch: Annotated[Count, Field(ge=1, le=MAX_BATCH)] = MAX_BATCH
    #: For a queue with a backlog; an idle queue has one poller.
    max_pollers: Annotated[Count, Field(ge=1, le=16)] = 8

    @model_validator(mode="before")
    @classmethod
    def _split_url(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(url := given.get("url"), str) or not url:
            return given
        endpoint, queue = split_queue_url(url)
        return {"endpoint": endpoint, "queue": queue, "name": queue} | dict(given)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.endpoint or not self.queue:
            raise ValueError('set url = "mns://…/queues/NAME", or endpoint and queue')
        if urlsplit(self.endpoint).scheme not in ("http", "https") or urlsplit(self.endpoint).path.strip("/"):
            raise ValueError(f"endpoint = {self.endpoint!r} must be http(s)://host[:port] without a path")
        return self

    @property
    def label(self) -> str:
        return self.name or self.queue


class HandlerSettings(BaseModel):
    """One handler of a route; every key except use and name is an option of the handler."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.use

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _states(
    known: Callable[[str], str | None], names: Sequence[str]
) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """States under the names by which results have them, or they would never match."""

    def as_recorded(given: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [state for state in given if known(state) is None]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a known state; use one of {', '.join(names)}")
        return tuple(known(state) or state for state in given)

    return as_recorded


OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class MatchSettings(Section):
    """All conditions given must match; a list matches any of its values."""

    route: OneOrMore = ()
    user_data: OneOrMore = ()  #: glob on the raw text
    data: dict[str, Any] = {}  #: members of JSON user data
    function: OneOrMore = ()
    state: Annotated[OneOrMore, AfterValidator(_states(known_state, KNOWN_STATES))] = ()
    type: OneOrMore = ()
    queue: OneOrMore = ()
    pipeline: OneOrMore = ()
    #: states of activities of a workflow; one with such a state suffices
    activity_state: Annotated[OneOrMore, AfterValidator(_states(known_activity_state, ACTIVITY_STATES))] = ()
    callback: dict[str, Any] = {}  #: members of the callback, whose names ignore case

    def value(self) -> Match:
        return Match(**{name: getattr(self, name) for name in type(self).model_fields})


class RouteSettings(Section):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    match: MatchSettings = MatchSettings()
    handlers: Annotated[tuple[HandlerSettings, ...], Field(min_length=1)]
    enrich: bool = True  #: whether handlers get the outputs, if MPS is configured
    deadline: JobTime | None = None  #: for jobs submitted to this route, instead of reconcile.deadline
    retry: RetrySettings | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = _repeated(handler.label for handler in self.handlers)
        if twice:
            raise ValueError(
                f'two handlers have the name {twice!r}; set a different name = "…" for one of them'
            )
        return self


def mps_section(tenant: str) -> str:
    """The section with the settings of a tenant for MPS."""
    return f"tenants.{tenant}.mps" if tenant else "mps"


class Settings(Section):
    """All settings. Created by ``loader.load``."""

    store: StoreSettings = StoreSettings()
    mps: MpsSettings = MpsSettings()
    credentials: CredentialsSettings = CredentialsSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    dispatch: DispatchSettings = DispatchSettings()
    retry: RetrySettings = RetrySettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    enrich: EnrichSettings = EnrichSettings()
    service: ServiceSettings = ServiceSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    tenants: dict[str, TenantSettings] = {}
    queues: tuple[QueueSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if twice := _repeated(route.name for route in self.routes):
            raise ValueError(f"two routes have the name {twice!r}; names must be unique")
        if twice := _repeated(queue.label for queue in self.queues):
            raise ValueError(
                f'two queues have the name {twice!r}; set a different name = "…" for one of them'
            )
        return self

    @model_validator(mode="after")
    def _tenants_known(self) -> Self:
        for index, queue in enumerate(self.queues):
            if queue.tenant and queue.tenant not in self.tenants:
                known = ", ".join(self.tenants) or "none"
                raise ValueError(
                    f"queues[{index}].tenant = {queue.tenant!r} is not a known tenant; known: {known}"
                )
        return self

    def rules(self) -> tuple[Rule, ...]:
        return tuple(
            Rule(
                name=route.name,
                match=route.match.value(),
                handlers=tuple(handler.label for handler in route.handlers),
                retry=(route.retry or self.retry).policy(),
            )
            for route in self.routes
        )

    def correlation_rules(self) -> Correlation:
        """How results are matched with jobs. MPS can be asked where it is configured."""
        verification = Verification(
            policy=self.correlation.verify,
            tenants=frozenset(self.tenants_with_mps),
            tenant_of=self.tenant_of,
        )
        return Correlation(
            unknown=self.correlation.unknown, wait=self.correlation.wait, verification=verification
        )

    @property
    def tenants_with_mps(self) -> Sequence[str]:
        """The tenants for which MPS is configured, the top level first."""
        return [name for name in ("", *self.tenants) if self.tenant(name).mps.configured]

    def tenant_of(self, job: Job | None, queue: str) -> str:
        """The job's tenant, or that of the queue which brought the result."""
        if job:
            return job.tenant
        return next((each.tenant for each in self.queues if each.label == queue), "")

    def tenant(self, name: str) -> TenantSettings:
        """The settings of a tenant; for "" those of the top level. Raises SettingsError."""
        if not name:
            return TenantSettings(credentials=self.credentials, mps=self.mps)
        if name not in self.tenants:
            known = ", ".join(self.tenants) or "none"
            raise SettingsError(
                f"no tenant {name!r} in the settings; known: {known}; none means the top level",
                field="tenant",
            )
        return self.tenants[name]

    def deadline_of(self, function: str, user_data_text: str | None) -> timedelta:
        """The time after which a callback is overdue: that of the route, or of the function or kind, or the default."""
        named = user_data.parse(user_data_text).route
        by_route = (route.deadline for route in self.routes if named and named in route.match.route)
        found = next((deadline for deadline in by_route if deadline is not None), None)
        return self.reconcile.deadlines.get(function, self.reconcile.deadline) if found is None else found

    def require_work(self) -> None:
        """Raises SettingsError unless there is at least one queue and one route."""
        for name, what in (("queues", self.queues), ("routes", self.routes)):
            if not what:
                raise SettingsError(
                    f"no [[{name}]] configured; add at least one to the settings file, which is that of -c or "
                    "MNS_LISTENER_CONFIG, else ./listener.toml"
                )


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
