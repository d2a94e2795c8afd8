"""``mns-listener check``: verify that the daemon can run, or say what to fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click

from listener.cli.common import config_option, json_option, print_json, print_table, settings_from
from listener.core.errors import ListenerError
from listener.settings.sections import Settings

EPILOG = """\b
Examples:
  mns-listener check -c listener.toml
  mns-listener check -c listener.toml --json

\b
Checks settings, store, handlers, access key and queues. It does not receive or
change any message. The exit status is that of the first check that failed, else 0.
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. ``exit_code`` is 0 if it passed."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 0


@click.command(epilog=EPILOG)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """Verify that the daemon can run with these settings."""
    results = list(_results(path))
    if as_json:
        print_json({"ok": all(one.ok for one in results), "checks": [asdict(one) for one in results]})
    else:
        rows = [("ok" if one.ok else "FAILED", one.name, one.detail) for one in results]
        print_table(("", "check", "detail"), rows, empty="nothing to check")
    ctx.exit(next((one.exit_code for one in results if not one.ok), 0))


def _results(path: Path | None) -> Iterator[CheckResult]:
    try:
        settings = settings_from(path)
        settings.require_work()
    except ListenerError as error:
        yield from (CheckResult("settings", False, line, error.exit_code) for line in str(error).splitlines())
        return
    yield CheckResult("settings", True, _summary(settings))
    yield _run_check("store", lambda: _store(settings))
    yield _run_check("handlers", lambda: _handlers(settings))
    yield from _queues(settings)


def _summary(settings: Settings) -> str:
    queues = ", ".join(queue.label for queue in settings.queues)
    return f"queues {queues}; routes {', '.join(route.name for route in settings.routes)}"


def _run_check(name: str, inspect: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, inspect())
    except ListenerError as error:
        return _failed(name, error)


def _failed(name: str, error: ListenerError) -> CheckResult:
    return CheckResult(name, False, str(error), error.exit_code)


def _store(settings: Settings) -> str:
    from listener.core import clock
    from listener.store.daemons import Daemons
    from listener.store.dead_letters import DeadLetters
    from listener.store.sql_store import SqlStore

    with closing(SqlStore.open(settings.store.url, timeout=settings.store.timeout)) as store:
        outstanding = store.outstanding()
        dead = DeadLetters(store.database).count()
        daemons = Daemons(store.database).running(clock.now())
        running = ", ".join(f"{daemon.owner} (version {daemon.version})" for daemon in daemons) or "none"
        return (
            f"{store.database.display_url}: {outstanding} outstanding, {dead} dead letters; "
            f"running daemons: {running}"
        )


def _handlers(settings: Settings) -> str:
    from listener.dispatch.coroutine_runner import CoroutineRunner
    from listener.dispatch.handlers import Handlers

    with closing(CoroutineRunner()) as runner, closing(Handlers(settings.routes, runner=runner)) as handlers:
        return ", ".join(f"{target.route}/{target.handler}" for target in handlers.targets)


def _queues(settings: Settings) -> Iterator[CheckResult]:
    from listener.aliyun.credentials import credentials
    from listener.aliyun.mns_queue import check_queue

    keys = credentials(settings.credentials)
    key = _run_check("access key", lambda: f"{keys.get_credentials().id[:4]}…")
    yield key
    if key.ok:
        for queue in settings.queues:
            yield _run_check(f"queue {queue.label}", partial(check_queue, queue, keys))
