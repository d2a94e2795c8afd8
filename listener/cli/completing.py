"""What a shell offers for the values of arguments and options: names from the settings, the store and the vendor.

A key press must neither wait for long nor print anything, so whatever goes wrong, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from click import Context, Parameter
from click.shell_completion import CompletionItem

from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.core import job_kinds
    from listener.emulator.mps import sample_callbacks
    from listener.jobs import functions as vendor
    from listener.settings import loader
    from listener.store import queries as stored
    from listener.store import sql_store

if TYPE_CHECKING:
    from listener.settings.sections import Settings

Complete = Callable[[Context, Parameter, str], list[CompletionItem]]

#: How many names of jobs are offered, and how long the store may take for them.
MAX_JOBS: Final = 50
STORE_TIMEOUT: Final = timedelta(seconds=2)


def _completing(names: Callable[[Context, str], Iterable[str]]) -> Complete:
    """Offers those of the names that begin with what was typed."""

    def complete(ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = sorted({name for name in names(ctx, incomplete) if name})
        except Exception:  # invalid settings, no store …: the command itself reports it when it runs
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


def _settings(ctx: Context) -> Settings:
    return loader.settings_from(ctx.params.get("path"))


def _jobs(ctx: Context, incomplete: str) -> Iterable[str]:
    """Without a beginning, the newest ones by reference or id."""
    url = _settings(ctx).store.url
    with closing(sql_store.SqlStore.open_existing(url, timeout=STORE_TIMEOUT, read_only=True)) as store:
        queries = stored.Queries(store.database)
        if incomplete:
            return queries.names_starting_with(incomplete, limit=MAX_JOBS)
        return [job.reference or job.job_id for _, job in queries.jobs(limit=MAX_JOBS)]


def _wanted_routes(ctx: Context, _incomplete: str) -> Iterable[str]:
    return (name for route in _settings(ctx).routes for name in route.match.route)


jobs: Final = _completing(_jobs)
routes: Final = _completing(lambda ctx, _: (route.name for route in _settings(ctx).routes))
#: What user data can name: the values of ``match.route``.
wanted_routes: Final = _completing(_wanted_routes)
queues: Final = _completing(lambda ctx, _: (queue.label for queue in _settings(ctx).queues))
functions: Final = _completing(lambda _ctx, _: vendor.FUNCTIONS)
callbacks: Final = _completing(lambda _ctx, _: sample_callbacks.SAMPLE_CALLBACKS)
kinds: Final = _completing(lambda _ctx, _: (kind.name for kind in job_kinds.JOB_KINDS))


def jobs_and_files(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Jobs, and whatever the shell itself offers for the name of a file."""
    found: list[Any] = [*jobs(ctx, param, incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]
