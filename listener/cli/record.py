"""``mns-listener record``: write message bodies to a file, for ``mns-listener replay``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from listener.cli.common import config_option, json_value, opened_store, settings_from
from listener.cli.filtering import filter_options
from listener.cli.output_file import output_file, output_option
from listener.cli.sending import chosen_queue, opened_queue
from listener.core.errors import UsageError
from listener.core.lazy_imports import lazy_imports
from listener.core.model import Source
from listener.formats.json_members import as_text
from listener.formats.nouns import noun

with lazy_imports():
    from listener.formats import callback_rewriting
    from listener.settings import sections
    from listener.store import quarantined_messages, queries, row_actions

if TYPE_CHECKING:
    from listener.formats.callback_rewriting import Kept
    from listener.settings.sections import Settings
    from listener.store.database import Database
    from listener.store.filters import Filters
    from listener.store.queries import StoredResult
    from listener.store.searching import Page

#: The filters that quarantined messages have, of which nothing else is known.
OF_ANY_MESSAGE: Final = frozenset({"queue", "since", "until"})

EPILOG = """\b
Examples:
  mns-listener record --from-store --since 2h --output calls.jsonl
  mns-listener record --from-store --function Cover --redact --output calls.jsonl
  mns-listener record --queue mps-callbacks --output calls.jsonl

From the store come the callbacks that were recorded, without their wrappers and
copies, and the messages in quarantine, as far as the filters match; the oldest is
first. From a queue come the messages that are there, at most 16, which is what MNS
shows at a time; they stay there, and the daemon receives them as usual.
A line has the body, the queue, the time and, from the store, the job.
"""


@click.command(epilog=EPILOG)
@click.option("--from-store", is_flag=True, help="Record what the daemon has received.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="At most the newest so many.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Mask ids of accounts, buckets, queries of URLs, and user data except for what routes name.",
)
@output_option
@filter_options(state=True)
@config_option
def record(
    *, from_store: bool, limit: int, redact: bool, output: Path, filters: Filters, path: Path | None
) -> None:
    """Write message bodies to a file, from the store or from a queue, for replay.

    With --from-store, --queue is a filter like the others; without it, it names the queue.
    """
    settings = settings_from(path)
    if from_store:
        with opened_store(settings, read_only=True) as store:
            lines = _from_store(store.database, filters, limit)
    else:
        lines = _from_queue(settings, filters)
    kept = _named_by_routes(settings)

    def clean(body: str) -> str:
        return callback_rewriting.without_private_data(body, kept=kept)

    with output_file(output) as file:
        for line in lines:
            written = {**line, "body": clean(line["body"])} if redact else line
            file.write(json.dumps(written, default=json_value) + "\n")
    click.echo(f"recorded {len(lines)} {noun(len(lines), 'messages')}", err=True)


def _from_store(database: Database, filters: Filters, limit: int) -> Sequence[Mapping[str, Any]]:
    lines = [_line_of(stored) for stored in islice(_callbacks(database, filters), limit)]
    if OF_ANY_MESSAGE.issuperset(filters.given):
        messages = row_actions.every_row(quarantined_messages.QuarantinedMessages(database), filters)
        lines += [
            {
                "body": entry.message.body,
                "queue": entry.queue,
                "received_at": entry.received_at,
                "quarantined": entry.reason,
            }
            for entry in islice(messages, limit)
        ]
    lines.reverse()  # the oldest first, also among those that were received at the same time
    return sorted(lines, key=lambda line: line["received_at"])[-limit:]


class _Results:
    """All results, in pages."""

    def __init__(self, database: Database) -> None:
        self._queries = queries.Queries(database)

    def page(self, *, filters: Filters, before: int, limit: int) -> Page[StoredResult]:
        return self._queries.results(filters=filters, before=before, limit=limit)


def _callbacks(database: Database, filters: Filters) -> Iterator[StoredResult]:
    """Results that came in messages, newest first."""
    found = row_actions.every_row(_Results(database), filters)
    return (stored for stored in found if stored.result.source is Source.CALLBACK)


def _line_of(stored: StoredResult) -> dict[str, Any]:
    result = stored.result
    return {
        "body": result.raw,
        "queue": stored.queue,
        "received_at": stored.received_at,
        "job_id": result.job_id or result.run_id or result.media_id,
        "state": result.state,
    }


def _from_queue(settings: Settings, filters: Filters) -> Sequence[Mapping[str, Any]]:
    if not filters.queue or len(filters.given) > 1:
        raise UsageError(
            "specify --from-store with any filters, or --queue NAME|URL alone, to record what is in a queue"
        )
    queue = chosen_queue(settings, filters.queue)
    with closing(opened_queue(settings, queue)) as admin:
        found = admin.peek(limit=sections.MAX_BATCH)
    return [{"body": each.body, "queue": queue.label, "received_at": each.enqueued_at} for each in found]


def _named_by_routes(settings: Settings) -> Kept:
    """What routes compare user data with."""
    values: set[str] = set()
    for route in settings.routes:
        values.update(route.match.route)
        for wanted in route.match.data.values():
            values.update(map(as_text, wanted if isinstance(wanted, list) else [wanted]))
    patterns = {pattern for route in settings.routes for pattern in route.match.user_data}
    return callback_rewriting.Kept(values=values, patterns=patterns)
