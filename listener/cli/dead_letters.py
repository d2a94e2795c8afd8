"""``mns-listener dead``: dead letters, and what to do about them."""

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
  mns-listener dead list
  mns-listener dead show 17
  mns-listener dead replay 17 18
  mns-listener dead replay --all --route captions
  mns-listener dead drop 19
"""


@click.group(epilog=EPILOG)
def dead() -> None:
    """Look at dead letters; replay or drop them."""


@dead.command("list", epilog=EPILOG)
@click.option("--route", default="", help="Only this route's.")
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
        ("id", "job", "state", "route", "handler", "attempts", "died", "reason"),
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


@dead.command("show", epilog=EPILOG)
@click.argument("letter", type=ROW_ID)
@config_option
@json_option
def show_dead(*, letter: int, path: Path | None, as_json: bool) -> None:
    """Show one dead letter with the callback that it is about."""
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings_from(path)) as store:
        delivery = DeadLetters(store.database).find(letter)
    if delivery is None:
        raise UsageError(f"there is no dead letter {letter}; `mns-listener dead list` shows them")
    facts = delivery_dict(delivery) | {"user_data": delivery.result.user_data, "raw": delivery.result.raw}
    print_json(facts) if as_json else print_fields(facts)


@dead.command("replay", epilog=EPILOG)
@click.argument("letters", type=ROW_ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters, or all of --route.")
@click.option("--route", default="", help="With --all: only this route's.")
@config_option
@json_option
def replay(
    *, letters: tuple[int, ...], everything: bool, route: str, path: Path | None, as_json: bool
) -> None:
    """Run dead letters again, with all their attempts."""
    settings = settings_from(path)
    decide = _decide(settings)
    _each(
        settings, letters, everything=everything, route=route, as_json=as_json, done="replayed", decide=decide
    )


@dead.command("drop", epilog=EPILOG)
@click.argument("letters", type=ROW_ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters, or all of --route.")
@click.option("--route", default="", help="With --all: only this route's.")
@config_option
@json_option
def drop(*, letters: tuple[int, ...], everything: bool, route: str, path: Path | None, as_json: bool) -> None:
    """Put dead letters away for good. Their results stay in the store."""
    settings = settings_from(path)
    _each(settings, letters, everything=everything, route=route, as_json=as_json, done="dropped", decide=None)


def _each(
    settings: Settings,
    letters: tuple[int, ...],
    *,
    everything: bool,
    route: str,
    as_json: bool,
    done: str,
    decide: Decide | None,
) -> None:
    if everything == bool(letters):
        raise UsageError("name dead letters by their ids, or say --all")
    if route and not everything:
        raise UsageError("--route goes with --all; ids name dead letters of any route")
    from listener.store.dead_letters import DeadLetters

    with opened_store(settings) as store:
        dead_letters = DeadLetters(store.database)
        ids = _all(dead_letters, route) if everything else list(dict.fromkeys(letters))
        changed: list[int] = []
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            at = clock.now()
            changed += dead_letters.replay(page, decide, at=at) if decide else dead_letters.drop(page, at=at)
    _report(changed, [letter for letter in ids if letter not in changed], done=done, as_json=as_json)


def _all(dead_letters: Any, route: str) -> list[int]:
    ids: list[int] = []
    while page := dead_letters.page(route=route, before=ids[-1] if ids else 0, limit=PAGE):
        ids += [delivery.id for delivery in page]
    return ids


def _report(changed: list[int], missing: list[int], *, done: str, as_json: bool) -> None:
    if as_json:
        print_json({done: changed, "missing": missing})
    else:
        click.echo(f"{done} {len(changed)} dead letters")
    if missing:
        raise UsageError(f"no dead letters: {', '.join(map(str, missing))}")


def _decide(settings: Settings) -> Decide:
    """Today's rules; that the job is unknown no longer counts, since a person has decided."""
    return decider(settings.rules(), Correlation(), now=clock.now(), wait_over=True)
