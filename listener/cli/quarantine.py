"""``mns-listener quarantine``: messages that could not be decoded, stored verbatim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.cli.common import (
    config_option,
    examples,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.filtering import filter_options
from listener.cli.serialize import quarantined_dict
from listener.core.lazy_imports import lazy_imports
from listener.formats.unicode_text import shortened

with lazy_imports():
    from listener.store import queries

if TYPE_CHECKING:
    from listener.store.filters import Filters

EXAMPLES = {
    "list": (
        "mns-listener quarantine list --since 2h",
        "mns-listener quarantine list --json | jq -r '.[0].body'",
    ),
}


@click.group(epilog=examples(EXAMPLES))
def quarantine() -> None:
    """List messages that could not be decoded."""


@quarantine.command("list", epilog=examples(EXAMPLES, "list"))
@filter_options("since", "until")
@page_options
@config_option
@json_option
def list_quarantined(
    *, filters: Filters, before: int | None, limit: int, path: Path | None, as_json: bool
) -> None:
    """List quarantined messages, newest first."""
    with opened_store(settings_from(path), read_only=True) as store:
        page = queries.Queries(store.database).quarantined(filters=filters, before=before or 0, limit=limit)
    if as_json:
        print_json([quarantined_dict(entry) for entry in page])
        return
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
