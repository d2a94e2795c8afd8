"""Quarantine: messages that could not be decoded, or that MPS did not confirm; retry and drop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from starlette.responses import Response

from listener.core import clock
from listener.core.errors import NotFound
from listener.intake.record_log import RecordLog
from listener.intake.recorder import decode_again
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm, row_id
from listener.pages.visit import Area, PageRoute, Visit
from listener.rules import routing
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.row_actions import Changed, every_row


def list_quarantined(visit: Visit) -> Response:
    form = filter_form.read_query(visit, *filter_form.TIMES)
    page = QuarantinedMessages(visit.context.store.database).page(
        filters=form.filters, before=form.before, limit=filter_form.PAGE
    )
    return visit.render(
        "quarantine.html",
        entries=page,
        form=form,
        next_page=form.next_page(PATH, [entry.id for entry in page]),
        actions=ACTIONS,
    )


def show_quarantined(visit: Visit) -> Response:
    wanted = row_id(visit.asked("id"))
    entry = QuarantinedMessages(visit.context.store.database).find(wanted)
    if entry is None:
        raise NotFound(f"no message in quarantine has the id {wanted}; it may have been retried or dropped")
    return visit.render("quarantined.html", entry=entry, actions=ACTIONS)


def _matching(visit: Visit, form: FilterForm, before: int) -> Iterator[int]:
    messages = QuarantinedMessages(visit.context.store.database)
    return (entry.id for entry in every_row(messages, form.filters, before=before))


def _retry(visit: Visit, ids: Sequence[int], *, dry_run: bool) -> Changed:
    settings, at = visit.context.settings, clock.now()
    decide = routing.decider(settings.rules(), settings.correlation_rules(), now=at, wait_over=False)
    messages = QuarantinedMessages(visit.context.store.database)
    retried = messages.retry(ids, decode_again, decide, at=at, dry_run=dry_run)
    if not dry_run:
        RecordLog().write(retried.summary)
        visit.context.wake()
    return Changed(
        retried.ids, retried.refused, {str(kind): number for kind, number in retried.summary.kinds.items()}
    )


def _drop(visit: Visit, ids: Sequence[int], *, dry_run: bool) -> Changed:
    messages = QuarantinedMessages(visit.context.store.database)
    return Changed([row for row in ids if messages.find(row)] if dry_run else messages.drop(ids))


PATH: Final = "/quarantine"
ACTIONS: Final = (
    BulkAction(
        verb="retry",
        done="retried",
        what="quarantined messages",
        effect="They are decoded again, and their results are recorded by the current routes.",
        area=PATH,
        filters=filter_form.TIMES,
        change=_retry,
        matching=_matching,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="quarantined messages",
        effect="They are deleted permanently.",
        area=PATH,
        filters=filter_form.TIMES,
        change=_drop,
        matching=_matching,
        deletes=True,
    ),
)
AREA: Final = Area(
    title="Quarantine",
    path=PATH,
    routes=(
        PageRoute(path=PATH, view=list_quarantined),
        PageRoute(path=f"{PATH}/show", view=show_quarantined),
        *(action.route for action in ACTIONS),
    ),
)
