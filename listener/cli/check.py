"""``mns-listener check``: would it run, and if not, what is to be done?"""

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
Looks at settings, store, handlers, access key and queues, changes nothing in the
queues, and exits with the status of the first thing that is wrong.
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one look showed. ``exit_code`` is 0 when it is well."""

    what: str
    ok: bool
    found: str
    exit_code: int = 0


@click.command(epilog=EPILOG)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, path: Path | None, as_json: bool) -> None:
    """See whether the daemon could run with these settings."""
    results = list(_results(path))
    if as_json:
        print_json({"ok": all(one.ok for one in results), "checks": [asdict(one) for one in results]})
    else:
        rows = [("ok" if one.ok else "FAILED", one.what, one.found) for one in results]
        print_table(("", "what", "found"), rows, empty="nothing to check")
    ctx.exit(next((one.exit_code for one in results if not one.ok), 0))


def _results(path: Path | None) -> Iterator[CheckResult]:
    try:
        settings = settings_from(path)
        settings.require_work()
    except ListenerError as error:
        yield _bad("settings", error)
        return
    yield CheckResult("settings", True, _described(settings))
    yield _looked("store", lambda: _store(settings))
    yield _looked("handlers", lambda: _handlers(settings))
    yield from _queues(settings)


def _described(settings: Settings) -> str:
    queues = ", ".join(queue.label for queue in settings.queues)
    return f"queues {queues}; routes {', '.join(route.name for route in settings.routes)}"


def _looked(what: str, look: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(what, True, look())
    except ListenerError as error:
        return _bad(what, error)


def _bad(what: str, error: ListenerError) -> CheckResult:
    return CheckResult(what, False, str(error), error.exit_code)


def _store(settings: Settings) -> str:
    from listener.cli.common import opened_store
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings) as store:
        left = store.outstanding()
        dead = DeadLetters(store.database).count()
        return f"{store.database.display_url}: {left} outstanding, {dead} dead letters"


def _handlers(settings: Settings) -> str:
    from listener.dispatch.coroutine_runner import CoroutineRunner
    from listener.dispatch.handlers import Handlers

    with closing(CoroutineRunner()) as runner, closing(Handlers(settings.routes, runner=runner)) as handlers:
        return ", ".join(f"{target.route}/{target.handler}" for target in handlers.targets)


def _queues(settings: Settings) -> Iterator[CheckResult]:
    from listener.aliyun.credentials import credentials
    from listener.aliyun.mns_queue import check_queue

    keys = credentials(settings.credentials)
    key = _looked("access key", lambda: f"{keys.get_credentials().id[:4]}…")
    yield key
    if key.ok:
        for queue in settings.queues:
            yield _looked(f"queue {queue.label}", partial(check_queue, queue, keys))
