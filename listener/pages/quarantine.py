"""Quarantine: messages that could not be decoded, or that MPS did not confirm; retry and drop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from listener.core.model import Quarantined
from listener.formats.unicode_text import shortened
from listener.pages import filter_form
from listener.pages.bulk import BulkAction
from listener.pages.filter_form import FilterForm
from listener.pages.rendering import ago, number, text
from listener.pages.row_list import Column, Detail, Row, RowList, reason
from listener.pages.visit import Visit
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.searching import Page

PATH: Final = "/quarantine"
#: Nothing else is known of a message that could not be decoded.
FILTERS: Final = ("queue", *filter_form.TIMES)
#: How many characters of a body a row shows.
MAX_BODY: Final = 80
ACTIONS: Final = (
    BulkAction(
        verb="retry",
        done="retried",
        what="quarantined messages",
        effect="They are decoded again, and their results are recorded by the current routes.",
        area=PATH,
        filters=FILTERS,
        source=QuarantinedMessages,
        change=lambda changes: changes.retry_quarantined,
        wakes=True,
    ),
    BulkAction(
        verb="drop",
        done="dropped",
        what="quarantined messages",
        effect="They are deleted permanently.",
        area=PATH,
        filters=FILTERS,
        source=QuarantinedMessages,
        change=lambda changes: changes.drop_quarantined,
        deletes=True,
    ),
)


def _read(visit: Visit, form: FilterForm) -> Page[Row]:
    messages = QuarantinedMessages(visit.context.store.database)
    page = messages.page(filters=form.filters, before=form.before, limit=filter_form.PAGE)
    return page.of(map(_row, page))


def _row(entry: Quarantined) -> Row:
    return Row(
        id=entry.id,
        name=entry.message.message_id,
        link=f"{PATH}/show?id={entry.id}",
        sub=shortened(entry.message.body, MAX_BODY),
        cells=(text(entry.queue), ago(entry.received_at), number(entry.copies), reason(entry.reason)),
    )


def _find(visit: Visit, wanted: int) -> Mapping[str, Any] | None:
    entry = QuarantinedMessages(visit.context.store.database).find(wanted)
    return {"entry": entry} if entry else None


QUARANTINE: Final = RowList(
    title="Quarantine",
    path=PATH,
    what="message",
    caption="Messages in quarantine",
    named="Message",
    hint="Messages that could not be decoded, and callbacks that MPS did not confirm, stored as they arrived.",
    columns=(Column("Queue"), Column("Received"), Column("Copies", "num"), Column("Reason", "reason")),
    read=_read,
    filters=FILTERS,
    actions=ACTIONS,
    unmatched="No messages match.",
    empty=("Quarantine is empty.", "Every message could be decoded."),
    detail=Detail(
        template="quarantined.html",
        find=_find,
        missing="no message in quarantine has the id {id}; it may have been retried or dropped",
    ),
)
AREA: Final = QUARANTINE.area
