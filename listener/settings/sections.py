"""The settings: TOML and environment in, one frozen, checked object out.

How the environment names a setting: ``listener.settings.env_overlay``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from listener.core.errors import SettingsError
from listener.formats import user_data
from listener.formats.durations import Duration, PositiveDuration
from listener.formats.queue_url import split_queue_url
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy
from listener.rules.routing import Correlation, Match, Rule

LONGEST_WAIT = timedelta(seconds=30)  #: facts: MNS holds a long poll for 30 s at most
LARGEST_BATCH = 16  #: facts: MNS hands out 16 messages at most


def _off(given: object) -> object:
    return timedelta(0) if given == "off" else given


DurationOrOff = Annotated[Duration, BeforeValidator(_off)]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class StoreSettings(Section):
    """Where jobs, results and deliveries are kept."""

    url: str = (
        "sqlite:///listener.db"  #: sqlite:///relative, sqlite:////absolute or postgresql://user@host/name
    )
    retention: DurationOrOff = timedelta(days=30)  #: how long what is finished is kept; 0 or "off": for ever


class MpsSettings(Section):
    """The MPS API, for submitting and asking."""

    region: str = ""  #: for example cn-shanghai; with neither region nor endpoint, MPS is never called
    endpoint: str = ""  #: for example http://127.0.0.1:8470; by default mts.<region>.aliyuncs.com over https
    #: Calls per second in all; the account's limit is 100.
    rate_limit: Annotated[float, Field(gt=0, le=100)] = 90
    pipeline: str = ""  #: the pipeline that jobs go to when the submitter names none
    notify_url: str = ""  #: the NotifyUrl of jobs whose submitter gives none

    @property
    def configured(self) -> bool:
        return bool(self.region or self.endpoint)


class CredentialsSettings(Section):
    """Files that hold the keys; without them alibabacloud-credentials' default chain is asked."""

    access_key_id_file: Path | None = None
    access_key_secret_file: Path | None = None
    security_token_file: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.access_key_id_file is None) != (self.access_key_secret_file is None):
            raise ValueError(
                "access_key_id_file and access_key_secret_file go together; give both or neither"
            )
        return self


class CorrelationSettings(Section):
    """What to do with a result whose job nobody has submitted here."""

    unknown: Literal["deliver", "dead-letter", "drop"] = "deliver"
    wait: Duration = timedelta(seconds=5)  #: how long a result waits for its job to become known

    def value(self) -> Correlation:
        return Correlation(unknown=self.unknown, wait=self.wait)


class TenantSettings(Section):
    """Another account or region in the same daemon."""

    credentials: CredentialsSettings = CredentialsSettings()
    mps: MpsSettings = MpsSettings()


class ReconcileSettings(Section):
    """Asking MPS about jobs whose callback is overdue. Needs [mps]; without it such jobs end as Lost."""

    deadline: Duration = timedelta(hours=6)  #: after submission, unless function, route or job say otherwise
    deadlines: dict[str, Duration] = {}  #: by function
    interval: PositiveDuration = timedelta(seconds=10)  #: how often to look for overdue jobs
    initial_backoff: PositiveDuration = timedelta(minutes=1)  #: between the first two queries about a job
    max_backoff: PositiveDuration = timedelta(hours=1)
    timeout: Duration = timedelta(days=3)  #: after the deadline, a job that MPS can't tell about is Lost

    def backoff(self) -> Backoff:
        return Backoff(self.initial_backoff, self.max_backoff)


class EnrichSettings(Section):
    """Asking MPS for the outputs of jobs that went well, before their handlers are called."""

    #: A delivery waits this long for MPS, then goes to its handler without outputs.
    max_wait: Duration = timedelta(minutes=10)


class DispatchSettings(Section):
    """How handlers are run."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16
    lease: Annotated[Duration, Field(ge=timedelta(seconds=2))] = timedelta(seconds=30)
    handler_timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(minutes=15)


class RetrySettings(Section):
    """How often and how long a delivery is tried."""

    max_attempts: Annotated[int, Field(ge=1)] = 10
    max_elapsed: Duration = timedelta(days=1)
    initial_backoff: Duration = timedelta(seconds=1)
    max_backoff: Duration = timedelta(minutes=10)

    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.max_attempts,
            max_elapsed=self.max_elapsed,
            backoff=Backoff(self.initial_backoff, self.max_backoff),
        )


class ServiceSettings(Section):
    """How the process starts and stops."""

    shutdown_timeout: Duration = timedelta(seconds=25)  #: how long handlers may go on after SIGTERM


class HttpSettings(Section):
    """Health and metrics."""

    listen: str = "127.0.0.1:8471"  #: host:port on loopback, unix:/path/to/socket, or "" for none


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"  #: auto: console on a terminal, else JSON


class QueueSettings(Section):
    """One MNS queue to stand at."""

    url: str = ""  #: mns://<account>.mns.<region>.aliyuncs.com/queues/<queue>, as in a job's NotifyUrl
    endpoint: str = ""  #: http(s)://…, where it differs from the one in url
    queue: str = ""  #: the queue's name, where there is no url
    name: str = ""  #: how logs, metrics and rules call it; by default the queue's name
    tenant: str = ""  #: whose credentials to use: the name of a [tenants] table
    wait: Annotated[Duration, Field(ge=timedelta(0), le=LONGEST_WAIT)] = LONGEST_WAIT
    batch: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = LARGEST_BATCH
    max_pollers: Annotated[int, Field(ge=1, le=16)] = 8  #: at a deep queue; an idle one has a single poller

    @model_validator(mode="before")
    @classmethod
    def _taken_apart(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not given.get("url"):
            return given
        endpoint, queue = split_queue_url(str(given["url"]))
        return {"endpoint": endpoint, "queue": queue, "name": queue} | dict(given)

    @model_validator(mode="after")
    def _found(self) -> Self:
        if not self.endpoint or not self.queue:
            raise ValueError('give url = "mns://…/queues/NAME", or endpoint and queue')
        if urlsplit(self.endpoint).scheme not in ("http", "https") or urlsplit(self.endpoint).path.strip("/"):
            raise ValueError(f"endpoint = {self.endpoint!r} must be http(s)://host[:port] without a path")
        return self

    @property
    def label(self) -> str:
        return self.name or self.queue


class HandlerSettings(BaseModel):
    """One handler of a route; every key besides use and name is the handler's own option."""

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


OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class MatchSettings(Section):
    """All that is given must hold; a list means any of its values."""

    route: OneOrMore = ()
    user_data: OneOrMore = ()  #: glob on the raw text
    data: dict[str, Any] = {}  #: keys of JSON user data
    function: OneOrMore = ()
    state: OneOrMore = ()
    type: OneOrMore = ()
    queue: OneOrMore = ()
    pipeline: OneOrMore = ()

    def value(self) -> Match:
        return Match(**{name: getattr(self, name) for name in type(self).model_fields})


class RouteSettings(Section):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    match: MatchSettings = MatchSettings()
    handlers: Annotated[tuple[HandlerSettings, ...], Field(min_length=1)]
    enrich: bool = True  #: whether handlers get the outputs, where MPS is configured
    deadline: Duration | None = None  #: of jobs submitted for this route, instead of reconcile.deadline
    retry: RetrySettings | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = _repeated(handler.label for handler in self.handlers)
        if twice:
            raise ValueError(f'two handlers are called {twice!r}; give one of them another name = "…"')
        return self


class Settings(Section):
    """All of it. ``loader.load`` makes one."""

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
            raise ValueError(f"two routes are called {twice!r}; names must differ")
        if twice := _repeated(queue.label for queue in self.queues):
            raise ValueError(f'two queues are called {twice!r}; give one of them another name = "…"')
        return self

    @model_validator(mode="after")
    def _tenants_known(self) -> Self:
        for place, queue in enumerate(self.queues):
            if queue.tenant and queue.tenant not in self.tenants:
                known = ", ".join(self.tenants) or "none"
                raise ValueError(f"queues[{place}].tenant = {queue.tenant!r} is no tenant; known: {known}")
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

    def tenant(self, name: str) -> TenantSettings:
        """A tenant's settings; the top level's for "". Raises SettingsError."""
        if not name:
            return TenantSettings(credentials=self.credentials, mps=self.mps)
        if name not in self.tenants:
            known = ", ".join(self.tenants) or "none"
            raise SettingsError(f"there is no tenant {name!r} in the settings; known: {known}")
        return self.tenants[name]

    def deadline_of(self, function: str, user_data_text: str | None) -> timedelta:
        """How long after its submission a job's callback is overdue: the route's, the function's or the general one."""
        named = user_data.parse(user_data_text).route
        by_route = (route.deadline for route in self.routes if named and named in route.match.route)
        found = next((deadline for deadline in by_route if deadline is not None), None)
        return self.reconcile.deadlines.get(function, self.reconcile.deadline) if found is None else found

    def require_work(self) -> None:
        """Raises SettingsError unless there is a queue to stand at and a route to take."""
        for name, what in (("queues", self.queues), ("routes", self.routes)):
            if not what:
                raise SettingsError(f"the settings have no [[{name}]]; the daemon needs at least one")


def _repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
