"""What this machine says: the files of a SQLite store and their disk, the log, and hosts of webhooks."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from listener.checks.bounded_checks import Check, ok
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import ListenerError
from listener.rules.machine_advice import judge_disk, judge_modes
from listener.settings.sections import HandlerSettings, Settings
from listener.store.database import parsed_url, sqlite_path
from listener.store.sqlite_files import SHM, WAL

STANDARD_ERROR: Final = 2
_TARGETS: Final = (
    (stat.S_ISCHR, "a terminal or device"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def store_files_check(settings: Settings) -> Check:
    return Check(kind=CheckKind.STORE_FILES, find=partial(_store_files, settings.store.url))


def log_check(settings: Settings) -> Check:
    return Check(kind=CheckKind.LOG, find=lambda: [judge_log(STANDARD_ERROR, level=settings.log.level)])


def webhook_checks(settings: Settings) -> Sequence[Check]:
    """One for each webhook of the routes."""
    return [
        Check(
            kind=CheckKind.WEBHOOK,
            subject=(subject := f"{route.name}/{handler.label}"),
            find=partial(_webhook, subject, handler),
            level_if_hanging=Level.WARNING,
        )
        for route in settings.routes
        for handler in route.handlers
        if handler.use == "webhook" and isinstance(handler.options.get("url"), str)
    ]


def judge_log(descriptor: int, *, level: str) -> CheckResult:
    """Whether the log, which is written to standard error, can be written to this descriptor."""
    try:
        mode = os.fstat(descriptor).st_mode
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        mode, writable = 0, False
    if not writable:
        return CheckResult(
            level=Level.WARNING,
            kind=CheckKind.LOG,
            detail="standard error is closed or cannot be written: the log would be lost",
            advice="connect standard error to a file, a pipe or the journal",
        )
    target = next((name for is_this, name in _TARGETS if is_this(mode)), "something else")
    return ok(CheckKind.LOG, f"standard error is {target}; level {level}")


def _store_files(url: str) -> Iterator[CheckResult]:
    """Nothing for another database, nor for what the check of the store refuses."""
    try:
        parsed = parsed_url(url)
        path = sqlite_path(parsed) if parsed.get_backend_name() == "sqlite" else ""
    except ListenerError:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not path or not os.path.isdir(folder):
        return
    yield judge_disk(folder, free_bytes=shutil.disk_usage(folder).free)
    modes = {name: os.stat(name).st_mode for name in (path, path + WAL, path + SHM) if os.path.exists(name)}
    if modes:
        yield judge_modes(modes)


def _webhook(subject: str, handler: HandlerSettings) -> Iterator[CheckResult]:
    try:
        parts = urlsplit(handler.options["url"])
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return  # the check of the handlers refuses it
    if not host:
        return
    proxies = getproxies()
    if (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(host):
        yield ok(CheckKind.WEBHOOK, f"{host} is called through a proxy, which resolves it", subject=subject)
        return
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield CheckResult(
            level=Level.WARNING,
            kind=CheckKind.WEBHOOK,
            subject=subject,
            detail=f"the host {host} cannot be resolved: {error.strerror}",
            advice="fix the url of the webhook, or name resolution on this machine; deliveries wait until then",
        )
    else:
        yield ok(CheckKind.WEBHOOK, f"{host} can be resolved", subject=subject)
