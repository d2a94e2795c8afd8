"""What a start needs, in its order: the daemon opens it, ``check`` verifies it with the same functions.

Whatever a start refuses must be refused by one of ``START_CHECKS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from listener.aliyun.request_count import OnRequest, not_counted
from listener.aliyun.tenant_clients import TenantClients
from listener.core import clock
from listener.core.check_result import CheckKind
from listener.core.errors import AddressInUse, ListenerError, StoreInUse
from listener.core.lazy_imports import lazy_imports
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handlers import Handlers
from listener.formats.durations import duration_text
from listener.settings.sections import Settings
from listener.store import preflight, schema
from listener.store.daemon_lock import DaemonLock
from listener.store.daemons import COUNTS_AS_RUNNING, Daemons, RunningDaemon
from listener.store.database import parsed_url
from listener.store.dead_letters import DeadLetters
from listener.store.sql_store import SqlStore
from listener.store.url_display import display_url

with lazy_imports():  # not needed without http.listen, or without http.token_file
    from listener.api import access
    from listener.http import address, health_query

if TYPE_CHECKING:
    import socket

    from listener.api.access import Tokens


@dataclass(frozen=True, slots=True)
class StartCheck:
    """``verify`` returns what was found, in words, or raises what a start would raise. It leaves nothing open."""

    kind: CheckKind
    verify: Callable[[Settings], str]


# What a start opens


def lock_store(settings: Settings) -> DaemonLock | None:
    """The lock on a SQLite file; None if several daemons may use the store. Raises StoreInUse."""
    return None if settings.store.shared else DaemonLock.acquire(settings.store.url)


def bind_port(settings: Settings) -> socket.socket | None:
    """None if there is to be no server. Raises AddressInUse and SettingsError."""
    if not settings.http.listen:
        return None
    return address.bind(settings.http.listen, public=_may_be_public(settings))


def read_tokens(settings: Settings) -> Tokens | None:
    """The tokens for the API; None where it needs none, or there is no API. Raises SettingsError."""
    path = settings.http.token_file
    return access.Tokens(path) if path and settings.http.serves_api else None


def _may_be_public(settings: Settings) -> bool:
    """Whether other machines may reach the server: job data needs a token then."""
    return settings.http.token_file is not None


def load_handlers(settings: Settings, runner: CoroutineRunner) -> Handlers:
    """Raises SettingsError."""
    return Handlers(settings.routes, runner=runner)


def make_clients(settings: Settings, *, on_mps_request: OnRequest = not_counted) -> TenantClients:
    """Makes every client and reads every file with a key. They hold no connection yet. Raises SettingsError."""
    clients = TenantClients(settings, on_mps_request=on_mps_request)
    for tenant in ("", *settings.tenants):
        clients.mps(tenant)
    for queue in settings.queues:
        clients.keys(queue.tenant)
    return clients


# What check verifies


def _single_daemon(settings: Settings) -> str:
    try:
        lock = lock_store(settings)
    except StoreInUse:
        running = _running(settings)
        if not running:
            raise
        return f"the running daemon {_seen(running)} has the store; `run` would refuse to start beside it"
    if lock is None:
        return "several daemons may use this store"
    lock.release()
    free = "no other daemon uses this SQLite file"
    ended = _running(settings)
    return f"{free}; {_seen(ended)} ended without signing off" if ended else free


def _address(settings: Settings) -> str:
    listen = settings.http.listen
    if not listen:
        return "no server for health, metrics and the API"
    tokens = read_tokens(settings)
    try:
        address.verify(listen, public=_may_be_public(settings))
    except AddressInUse as error:
        daemon = health_query.daemon_at(listen)
        if daemon in [each.owner for each in _running(settings)]:
            return f"{listen} is used by the running daemon {daemon} of this store"
        if daemon:
            raise AddressInUse(f"{error}; the daemon {daemon} of another store listens there") from error
        raise
    return f"{listen} is free; {_access(settings, tokens)}"


def _access(settings: Settings, tokens: Tokens | None) -> str:
    """Who may use the API."""
    if not settings.http.serves_api:
        return "without the API"
    return f"the API needs a token of {settings.http.token_file}" if tokens else "the API needs no token"


def _running(settings: Settings) -> Sequence[RunningDaemon]:
    """The daemons that have reported lately to this store; none if that cannot be found out."""
    try:
        with closing(_read_only(settings)) as store:
            return Daemons(store.database).running(clock.now())
    except ListenerError:
        return []


def _seen(daemons: Sequence[RunningDaemon]) -> str:
    """Their names, and when each was seen last: one that was killed is known for a while."""
    at = clock.now()
    ages = [(each, duration_text(max(timedelta(0), at - each.seen_at))) for each in daemons]
    return ", ".join(f"{each.owner} (version {each.version}, last seen {age} ago)" for each, age in ages)


def _handlers(settings: Settings) -> str:
    with closing(CoroutineRunner()) as runner, closing(load_handlers(settings, runner)) as handlers:
        return ", ".join(f"{target.route}/{target.handler}" for target in handlers.targets)


def _store(settings: Settings) -> str:
    shown = display_url(parsed_url(settings.store.url))
    found = preflight.found_schema(settings.store.url, timeout=settings.store.timeout)
    if found != schema.HEAD:
        return f"{shown}: " + (
            f"schema {found}, which `run` migrates to {schema.HEAD}" if found else "`run` will create it"
        )
    with closing(_read_only(settings)) as store:
        outstanding, dead = store.outstanding(), DeadLetters(store.database).count()
        daemons = Daemons(store.database).running(clock.now())
    within = f"daemons seen within {duration_text(COUNTS_AS_RUNNING)}"
    return f"{shown}: {outstanding} outstanding, {dead} dead letters; {within}: {_seen(daemons) or 'none'}"


def _read_only(settings: Settings) -> SqlStore:
    return SqlStore.open_existing(settings.store.url, timeout=settings.store.timeout, read_only=True)


def _clients(settings: Settings) -> str:
    clients = make_clients(settings)
    tenants = [tenant for tenant in ("", *settings.tenants) if clients.mps(tenant)]
    for_whom = ", ".join(f"tenant {tenant}" if tenant else "the top level" for tenant in tenants)
    return f"key files and endpoints are valid; [mps] is configured for {for_whom or 'none'}"


#: In the order of ``Daemon.start``. The endpoints of the queues are checked when they are asked for.
START_CHECKS: Final = (
    StartCheck(CheckKind.SINGLE_DAEMON, _single_daemon),
    StartCheck(CheckKind.HTTP, _address),
    StartCheck(CheckKind.HANDLERS, _handlers),
    StartCheck(CheckKind.STORE, _store),
    StartCheck(CheckKind.CLIENTS, _clients),
)
