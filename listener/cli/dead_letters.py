"""``mns-listener dead-letters``: list, replay and delete dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from listener.cli.common import (
    ROW_ID,
    config_option,
    json_option,
    opened_store,
    page_options,
    print_fields,
    print_json,
    print_table,
    settings_from,
)
from listener.cli.serialize import delivery_dict
from listener.core import clock
from listener.core.errors import UsageError
from listener.core.ports import Decide
from listener.rules.routing import Correlation, decider
from listener.settings.sections import Settings

PAGE = 500

EPILOG = """\b
Examples:
  mns-listener dead-letters list
  mns-listener dead-letters show 17
  mns-listener dead-letters replay 17 18
  mns-listener dead-letters replay --all --route captions
  mns-listener dead-letters drop 19
"""


@click.group(epilog=EPILOG)
def dead_letters() -> None:
    """List, replay or delete dead letters (alias: dlq)."""


@dead_letters.command("list", epilog=EPILOG)
@click.option("--route", default="", help="Only dead letters of this route.")
@page_options
@config_option
@json_option
def list_dead(*, route: str, before: int | None, limit: int, path: Path | None, as_json: bool) -> None:
    """List dead letters, newest first."""
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings_from(path)) as store:
        page = DeadLetters(store.database).page(route=route, before=before or 0, limit=limit)
    if as_json:
        print_json([delivery_dict(delivery) for delivery in page])
        return
    print_table(
        ("id", "job", "state", "route", "handler", "attempts", "failed at", "reason"),
        [
            (
                delivery.id,
                delivery.result.key,
                delivery.result.state,
                delivery.target.route or "-",
                delivery.target.handler or "-",
                delivery.attempt,
                delivery.settled_at,
                delivery.last_error,
            )
            for delivery in page
        ],
        empty="no dead letters",
    )


@dead_letters.command("show", epilog=EPILOG)
@click.argument("dead_letter_id", metavar="ID", type=ROW_ID)
@config_option
@json_option
def show_dead(*, dead_letter_id: int, path: Path | None, as_json: bool) -> None:
    """Show one dead letter with its callback."""
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings_from(path)) as store:
        delivery = DeadLetters(store.database).find(dead_letter_id)
    if delivery is None:
        raise UsageError(
            f"no dead letter has the id {dead_letter_id}; list them with `mns-listener dead-letters list`"
        )
    fields = delivery_dict(delivery) | {"user_data": delivery.result.user_data, "raw": delivery.result.raw}
    print_json(fields) if as_json else print_fields(fields)


@dead_letters.command("replay", epilog=EPILOG)
@click.argument("ids", metavar="[ID]...", type=ROW_ID, nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="All dead letters, or with --route all of that route."
)
@click.option("--route", default="", help="With --all: only dead letters of this route.")
@config_option
@json_option
def replay(*, ids: tuple[int, ...], everything: bool, route: str, path: Path | None, as_json: bool) -> None:
    """Return dead letters to the daemon, with a full set of attempts."""
    settings = settings_from(path)
    decide = _decide(settings)
    _each(settings, ids, everything=everything, route=route, as_json=as_json, done="replayed", decide=decide)


@dead_letters.command("drop", epilog=EPILOG)
@click.argument("ids", metavar="[ID]...", type=ROW_ID, nargs=-1)
@click.option(
    "--all", "everything", is_flag=True, help="All dead letters, or with --route all of that route."
)
@click.option("--route", default="", help="With --all: only dead letters of this route.")
@config_option
@json_option
def drop(*, ids: tuple[int, ...], everything: bool, route: str, path: Path | None, as_json: bool) -> None:
    """Discard dead letters permanently: they can no longer be replayed."""
    settings = settings_from(path)
    _each(settings, ids, everything=everything, route=route, as_json=as_json, done="dropped", decide=None)


def _each(
    settings: Settings,
    ids: tuple[int, ...],
    *,
    everything: bool,
    route: str,
    as_json: bool,
    done: str,
    decide: Decide | None,
) -> None:
    if everything == bool(ids):
        raise UsageError("specify the ids of dead letters, or --all; use one of the two")
    if route and not everything:
        raise UsageError(
            "--route requires --all; remove --route, since ids already identify dead letters of any route"
        )
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings) as store:
        letters = DeadLetters(store.database)
        chosen = _all(letters, route) if everything else list(dict.fromkeys(ids))
        changed: list[int] = []
        for start in range(0, len(chosen), PAGE):
            page = chosen[start : start + PAGE]
            at = clock.now()
            changed += letters.replay(page, decide, at=at) if decide else letters.drop(page, at=at)
    _report(changed, [one for one in chosen if one not in changed], done=done, as_json=as_json)


def _all(letters: Any, route: str) -> list[int]:
    ids: list[int] = []
    while page := letters.page(route=route, before=ids[-1] if ids else 0, limit=PAGE):
        ids += [delivery.id for delivery in page]
    return ids


def _report(changed: list[int], missing: list[int], *, done: str, as_json: bool) -> None:
    if as_json:
        print_json({done: changed, "missing": missing})
    else:
        click.echo(f"{done} {len(changed)} dead letters")
    if missing:
        raise UsageError(f"no dead letters with these ids: {', '.join(map(str, missing))}")


def _decide(settings: Settings) -> Decide:
    """Apply the current routes. An unknown job does not matter any more: an operator asked for the replay."""
    return decider(settings.rules(), Correlation(), now=clock.now(), wait_over=True)
