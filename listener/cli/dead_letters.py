"""``mns-listener dead-letters``: list, replay and delete dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from listener.api.serialize import delivery_dict, whole_delivery_dict
from listener.cli.common import (
    ROW_ID,
    config_option,
    examples,
    json_option,
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
from listener.cli.selection import Action, Selection, carry_out, selection_options
from listener.core.errors import NotFound
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.api import row_changes
    from listener.store import dead_letters as stored

if TYPE_CHECKING:
    from listener.core.model import Delivery, Target
    from listener.store.filters import Filters
    from listener.store.row_actions import Changed

REPLAY = Action(verb="replay", done="replayed", what="dead letters", refuses=True, state=True)
DROP = Action(verb="drop", done="dropped", what="dead letters", asks=True, state=True)

EXAMPLES = {
    "list": ("mns-listener dead-letters list --since 2h",),
    "show": ("mns-listener dead-letters show 17",),
    "replay": (
        "mns-listener dead-letters replay 17 18",
        "mns-listener dead-letters replay --all --route captions --dry-run",
    ),
    "drop": (
        "mns-listener dead-letters drop 19",
        "mns-listener dead-letters drop --all --until 2026-05-01 --yes",
    ),
}


@click.group(epilog=examples(EXAMPLES))
def dead_letters() -> None:
    """List, replay or delete dead letters (alias: dlq)."""


@dead_letters.command("list", epilog=examples(EXAMPLES, "list"))
@filter_options(state=True)
@page_options
@config_option
@json_option
def list_dead(*, filters: Filters, before: int | None, limit: int, path: Path | None, as_json: bool) -> None:
    """List dead letters, newest first. --since and --until refer to the time of the failure."""
    with opened_store(settings_from(path), read_only=True) as store:
        read = partial(stored.DeadLetters(store.database).page, filters=filters)
        page, following = read_page(read, before=before, limit=limit, row_id=attrgetter("id"))
    if as_json:
        print_json([delivery_dict(delivery) for delivery in page])
    else:
        _show(page)
    print_next_page(following)


@dead_letters.command("show", epilog=examples(EXAMPLES, "show"))
@click.argument("dead_letter_id", metavar="ID", type=ROW_ID)
@config_option
@json_option
def show_dead(*, dead_letter_id: int, path: Path | None, as_json: bool) -> None:
    """Show one dead letter with its callback."""
    with opened_store(settings_from(path), read_only=True) as store:
        delivery = stored.DeadLetters(store.database).find(dead_letter_id)
    if delivery is None:
        raise NotFound(
            f"no dead letter has the id {dead_letter_id}; list them with `mns-listener dead-letters list`"
        )
    print_one(whole_delivery_dict(delivery), as_json=as_json)


@dead_letters.command(
    "replay", short_help="Return dead letters to the daemon.", epilog=examples(EXAMPLES, "replay")
)
@selection_options(REPLAY)
@config_option
def replay(*, selection: Selection, path: Path | None) -> None:
    """Return dead letters to the daemon, by the current routes, with a full set of attempts.

    One that no route matches stays a dead letter; the exit status is then 1. --dry-run shows the routes and handlers
    that they would go to.
    """
    settings = settings_from(path)
    targets: dict[int, Sequence[Target]] = {}
    with opened_store(settings) as store:
        changes = row_changes.RowChanges(store, settings)

        def change(ids: Sequence[int]) -> Changed:
            changed = changes.replay_dead_letters(ids, dry_run=selection.dry_run)
            targets.update(changed.targets)
            return changed

        def show(page: Sequence[Delivery]) -> None:
            _show(
                [replace(letter, target=target) for letter in page for target in targets.get(letter.id, ())]
            )

        letters = stored.DeadLetters(store.database)
        carry_out(REPLAY, selection, letters, change=change, show=show, preview=change)


@dead_letters.command("drop", epilog=examples(EXAMPLES, "drop"))
@selection_options(DROP)
@config_option
def drop(*, selection: Selection, path: Path | None) -> None:
    """Discard dead letters permanently: they can no longer be replayed. --all asks first."""
    settings = settings_from(path)
    with opened_store(settings) as store:
        carry_out(
            DROP,
            selection,
            stored.DeadLetters(store.database),
            change=row_changes.RowChanges(store, settings).drop_dead_letters,
            show=_show,
        )


def _show(page: Sequence[Delivery]) -> None:
    print_table(
        ("id", "job", "state", "route", "handler", "attempts", "failures", "failed at", "reason"),
        [
            (
                delivery.id,
                delivery.result.subject,
                delivery.result.state,
                delivery.target.route,
                delivery.target.handler,
                delivery.attempt,
                delivery.failures,
                delivery.settled_at,
                delivery.last_error,
            )
            for delivery in page
        ],
        empty="no dead letters",
        whole=("id", "job"),
    )
