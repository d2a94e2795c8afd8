"""Dead letters: a list with filters, one dead letter, replay and drop."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from listener.core.errors import NotFound
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import row_id
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.dead_letters import DeadLetters


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
        choices=filter_form.choices_of(visit.context.settings),
        actions=ACTIONS,
    )


def show_dead(visit: Visit) -> Response:
    wanted = row_id(visit.asked("id"))
    letter = DeadLetters(visit.context.store.database).find(wanted)
    if letter is None:
        raise NotFound(f"no dead letter has the id {wanted}; it may have been replayed, dropped or deleted")
    return visit.render("dead_letter.html", letter=letter, actions=ACTIONS)


PATH: Final = "/dead-letters"
ACTIONS: Final = (
    BulkAction(
        verb="replay",
        done="replayed",
        what="dead letters",
        effect="They become pending again with all their attempts, at the handlers that the current routes name.",
        area=PATH,
        filters=filter_form.ALL,
        source=DeadLetters,
        change=lambda changes: changes.replay_dead_letters,
        wakes=True,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="dead letters",
        effect="They can no longer be replayed, and are deleted when store.retention is over.",
        area=PATH,
        filters=filter_form.ALL,
        source=DeadLetters,
        change=lambda changes: changes.drop_dead_letters,
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
