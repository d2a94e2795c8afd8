"""Dead letters: a list with filters, one dead letter, replay and drop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from starlette.responses import Response

from listener.core import clock
from listener.core.errors import NotFound
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm, row_id
from listener.pages.visit import Area, PageRoute, Visit
from listener.rules import routing
from listener.store.dead_letters import DeadLetters
from listener.store.row_actions import Changed, every_row


def list_dead(visit: Visit) -> Response:
    form = filter_form.read_query(visit, *filter_form.ALL)
    page = DeadLetters(visit.context.store.database).page(
        filters=form.filters, before=form.before, limit=filter_form.PAGE
    )
    return visit.render(
        "dead_letters.html",
        letters=page,
        form=form,
        next_page=form.next_page(PATH, [letter.id for letter in page]),
        routes=[route.name for route in visit.context.settings.routes],
        actions=ACTIONS,
    )


def show_dead(visit: Visit) -> Response:
    wanted = row_id(visit.asked("id"))
    letter = DeadLetters(visit.context.store.database).find(wanted)
    if letter is None:
        raise NotFound(f"no dead letter has the id {wanted}; it may have been replayed, dropped or deleted")
    return visit.render("dead_letter.html", letter=letter, actions=ACTIONS)


def _matching(visit: Visit, form: FilterForm, before: int) -> Iterator[int]:
    letters = DeadLetters(visit.context.store.database)
    return (letter.id for letter in every_row(letters, form.filters, before=before))


def _replay(visit: Visit, ids: Sequence[int], *, dry_run: bool) -> Changed:
    """By the current routes. An unknown job does not matter any more: an operator asked for the replay."""
    at = clock.now()
    decide = routing.decider(visit.context.settings.rules(), routing.Correlation(), now=at, wait_over=True)
    replayed = DeadLetters(visit.context.store.database).replay(ids, decide, at=at, dry_run=dry_run)
    if not dry_run:
        visit.context.wake()
    counts: dict[str, int] = {}
    for targets in replayed.targets.values():
        for target in targets:
            name = f"to {target.route}/{target.handler}"
            counts[name] = counts.get(name, 0) + 1
    return Changed(replayed.ids, replayed.refused, counts)


def _drop(visit: Visit, ids: Sequence[int], *, dry_run: bool) -> Changed:
    letters = DeadLetters(visit.context.store.database)
    if dry_run:
        return Changed([row for row in ids if letters.find(row)])
    return Changed(letters.drop(ids, at=clock.now()))


PATH: Final = "/dead-letters"
ACTIONS: Final = (
    BulkAction(
        verb="replay",
        done="replayed",
        what="dead letters",
        effect="They become pending again with all their attempts, at the handlers that the current routes name.",
        area=PATH,
        filters=filter_form.ALL,
        change=_replay,
        matching=_matching,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="dead letters",
        effect="They can no longer be replayed, and are deleted when store.retention is over.",
        area=PATH,
        filters=filter_form.ALL,
        change=_drop,
        matching=_matching,
        deletes=True,
    ),
)
AREA: Final = Area(
    title="Dead letters",
    path=PATH,
    routes=(
        PageRoute(path=PATH, view=list_dead),
        PageRoute(path=f"{PATH}/show", view=show_dead),
        *(action.route for action in ACTIONS),
    ),
)
