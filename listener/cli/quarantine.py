"""``mns-listener quarantine``: messages that could not be decoded, stored verbatim."""

from __future__ import annotations

from pathlib import Path

import click

from listener.cli.common import (
    config_option,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.serialize import quarantined_dict
from listener.formats.unicode_text import shortened

EPILOG = """\b
Examples:
  mns-listener quarantine list
  mns-listener quarantine list --json | jq -r '.[0].body'
"""


@click.group(epilog=EPILOG)
def quarantine() -> None:
    """List messages that could not be decoded."""


@quarantine.command("list", epilog=EPILOG)
@page_options
@config_option
@json_option
def list_quarantined(*, before: int | None, limit: int, path: Path | None, as_json: bool) -> None:
    """List quarantined messages, newest first."""
    from listener.store.queries import Queries

    with opened_store(settings_from(path)) as store:
        page = Queries(store.database).quarantined(before=before or 0, limit=limit)
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
    )
