"""``mns-listener quarantine``: messages that could not be decoded, stored verbatim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.api.serialize import quarantined_dict
from listener.cli.common import (
    ROW_ID,
    config_option,
    examples,
    json_option,
    json_value,
    opened_store,
    page_options,
    print_json,
    print_next_page,
    print_one,
    print_table,
    read_page,
    settings_from,
)
from listener.cli.filtering import filter_options
from listener.cli.output_file import output_file, output_option
from listener.cli.selection import Action, Selection, carry_out, selection_options
from listener.core.errors import NotFound
from listener.core.lazy_imports import lazy_imports
from listener.formats.unicode_text import shortened
from listener.store.row_actions import every_row

with lazy_imports():
    from listener.api import row_changes
    from listener.formats import redaction
    from listener.store import quarantined_messages as stored

if TYPE_CHECKING:
    from listener.core.model import Quarantined
    from listener.store.filters import Filters
    from listener.store.quarantined_messages import QuarantinedMessages

#: Nothing else is known of a message that could not be decoded.
FILTERS = ("queue", "since", "until")
RETRY = Action(
    verb="retry", done="retried", what="quarantined messages", refuses=True, counts=True, filters=FILTERS
)
DROP = Action(verb="drop", done="dropped", what="quarantined messages", asks=True, filters=FILTERS)

EXAMPLES = {
    "list": (
        "mns-listener quarantine list --since 2h",
        "mns-listener quarantine list --json | jq -r '.[0].body'",
    ),
    "show": ("mns-listener quarantine show 4",),
    "retry": (
        "mns-listener quarantine retry 4 5",
        "mns-listener quarantine retry --all --dry-run",
    ),
    "drop": (
        "mns-listener quarantine drop 4",
        "mns-listener quarantine drop --all --until 2026-05-01 --yes",
    ),
    "export": ("mns-listener quarantine export 4 5 --redact --output report.jsonl",),
}


@click.group(epilog=examples(EXAMPLES))
def quarantine() -> None:
    """List, retry, delete or export messages that could not be decoded."""


@quarantine.command("list", epilog=examples(EXAMPLES, "list"))
@filter_options(*FILTERS)
@page_options
@config_option
@json_option
def list_quarantined(
    *, filters: Filters, before: int | None, limit: int, path: Path | None, as_json: bool
) -> None:
    """List quarantined messages, newest first."""
    with opened_store(settings_from(path), read_only=True) as store:
        read = partial(stored.QuarantinedMessages(store.database).page, filters=filters)
        page, following = read_page(read, before=before, limit=limit, row_id=attrgetter("id"))
    if as_json:
        print_json([quarantined_dict(entry) for entry in page])
    else:
        _show(page)
    print_next_page(following)


@quarantine.command("show", epilog=examples(EXAMPLES, "show"))
@click.argument("entry_id", metavar="ID", type=ROW_ID)
@config_option
@json_option
def show_quarantined(*, entry_id: int, path: Path | None, as_json: bool) -> None:
    """Show one quarantined message with its whole body."""
    with opened_store(settings_from(path), read_only=True) as store:
        entry = _found(stored.QuarantinedMessages(store.database), entry_id)
    print_one(quarantined_dict(entry), as_json=as_json)


@quarantine.command(
    "retry", short_help="Decode messages again, and record them.", epilog=examples(EXAMPLES, "retry")
)
@selection_options(RETRY)
@config_option
def retry(*, selection: Selection, path: Path | None) -> None:
    """Decode messages again, e.g. after an upgrade, and record them by the current routes.

    The daemon calls the handlers. A message that still cannot be decoded or recorded stays, with the reason; the exit
    status is then 1.
    """
    settings = settings_from(path)
    with opened_store(settings) as store:
        change = partial(row_changes.RowChanges(store, settings).retry_quarantined, dry_run=selection.dry_run)
        messages = stored.QuarantinedMessages(store.database)
        carry_out(RETRY, selection, messages, change=change, show=_show, preview=change)


@quarantine.command("drop", epilog=examples(EXAMPLES, "drop"))
@selection_options(DROP)
@config_option
def drop(*, selection: Selection, path: Path | None) -> None:
    """Delete quarantined messages permanently. --all asks first."""
    settings = settings_from(path)
    with opened_store(settings) as store:
        carry_out(
            DROP,
            selection,
            stored.QuarantinedMessages(store.database),
            change=row_changes.RowChanges(store, settings).drop_quarantined,
            show=_show,
        )


@quarantine.command(
    "export", short_help="Export messages as JSON lines.", epilog=examples(EXAMPLES, "export")
)
@click.argument("ids", metavar="[ID]...", type=ROW_ID, nargs=-1)
@output_option
@click.option(
    "--redact",
    is_flag=True,
    help="Mask letters and digits of the body, except names and states that MPS defines.",
)
@filter_options(*FILTERS)
@config_option
def export(*, ids: tuple[int, ...], output: Path, redact: bool, filters: Filters, path: Path | None) -> None:
    """Export quarantined messages as JSON lines, e.g. for a bug report: those with these ids, or all, newest first."""
    with opened_store(settings_from(path), read_only=True) as store, output_file(output) as file:
        messages = stored.QuarantinedMessages(store.database)
        entries = (
            (_found(messages, row) for row in dict.fromkeys(ids)) if ids else every_row(messages, filters)
        )
        for entry in entries:
            line = quarantined_dict(entry)
            if redact:
                line["body"] = redaction.redacted(entry.message.body)
            file.write(json.dumps(line, default=json_value) + "\n")


def _found(messages: QuarantinedMessages, entry_id: int) -> Quarantined:
    entry = messages.find(entry_id)
    if entry is None:
        raise NotFound(
            f"no quarantined message has the id {entry_id}; list them with `mns-listener quarantine list`"
        )
    return entry


def _show(page: Sequence[Quarantined]) -> None:
    print_table(
        ("id", "queue", "message", "received", "copies", "reason", "body"),
        [
            (
                entry.id,
                entry.queue,
                entry.message.message_id,
                entry.received_at,
                entry.copies,
                entry.reason,
                shortened(entry.message.body, 60),
            )
            for entry in page
        ],
        empty="no messages in quarantine",
        whole=("id", "message"),
    )
