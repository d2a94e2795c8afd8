"""What happens to a batch that the store rejects: its entries are recorded one by one, and the culprits quarantined.

So one callback that the database cannot hold, or one that meets a bug in mns-listener, does not block the others.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.core.logger import get_logger
from listener.core.model import DecodedMessage, Message, Quarantined, RecordedEntry, RecordSummary, Result
from listener.core.ports import Decide, ResultStore
from listener.formats.unicode_text import shortened, storable

log = get_logger(__name__)

#: How many characters of the database's message a reason quotes.
MAX_REASON: Final = 500
#: How a body begins that is kept as base64 of its UTF-8, and what its reason contains.
ENCODED: Final = "base64:"
REJECTED: Final = "the store rejects it: "


def record_one_by_one(
    store: ResultStore,
    batch: Sequence[DecodedMessage],
    decide: Decide,
    *,
    at: datetime,
    on_recorded: Callable[[RecordSummary], object],
) -> RecordSummary:
    """Record each entry in a transaction of its own; no delivery is claimed.

    ``on_recorded`` is called after each transaction, because a later one may fail.

    Raises StoreUnavailable, also when the store rejects everything, and what ``decide`` raises for everything: then
    nothing is wrong with the entries.
    """
    summaries = []
    for entry in batch:
        summary = _record_or_quarantine(store, entry, decide, at=at)
        on_recorded(summary)
        summaries.append(summary)
    return RecordSummary.total(summaries)


def original_body(entry: Quarantined) -> str:
    """The body of a quarantined message as it was received."""
    body = entry.message.body
    if not body.startswith(ENCODED) or REJECTED not in entry.reason:
        return body
    return base64.b64decode(body.removeprefix(ENCODED)).decode("utf-8", "surrogatepass")


def _record_or_quarantine(
    store: ResultStore, entry: DecodedMessage, decide: Decide, *, at: datetime
) -> RecordSummary:
    try:
        return store.record([entry], decide, at=at)
    except StoreUnavailable:
        raise
    except Exception as error:  # whatever is wrong with this one, the others are to be recorded
        store.verify_writable(decide, at=at)
        reason = _reason(error)
    for copy in _quarantined(entry, reason):
        try:
            summary = store.record([copy], decide, at=at)
        except StoreUnavailable:
            raise
        except Exception as error:  # tried again in a form that every database can hold
            rejection = error
        else:
            return replace(summary, entries=partial(_with_result, summary, entry.result))
    log.error("message.rejected", queue=entry.queue, message_id=_message(entry).message_id, error=reason)
    raise StoreUnavailable(
        f"the store accepts results, but nothing in quarantine: {rejection}", kind=StoreFailureKind.DATABASE
    ) from rejection


def _with_result(summary: RecordSummary, result: Result | None) -> Sequence[RecordedEntry]:
    """The quarantine knows of no result, the log is to name it."""
    return [replace(each, result=result) for each in summary.entries()]


def _reason(error: Exception) -> str:
    return shortened(storable(f"{REJECTED}{error or type(error).__name__}"), MAX_REASON)


def _message(entry: DecodedMessage) -> Message:
    """The message; for a result that no message brought, one with its text."""
    if entry.message is not None:
        return entry.message
    text = entry.result.raw if entry.result else ""
    return Message(message_id="", receipt_handle="", body=text or repr(entry.result))


def _quarantined(entry: DecodedMessage, reason: str) -> Iterator[DecodedMessage]:
    """The entry as one that cannot be decoded: verbatim, then with nothing but ASCII."""
    message = _message(entry)
    reason = f"{entry.reason}; {reason}" if entry.reason else reason
    yield replace(entry, message=message, result=None, reason=reason)
    body = base64.b64encode(message.body.encode("utf-8", "surrogatepass")).decode()
    in_ascii = replace(message, message_id=_ascii(message.message_id), body=ENCODED + body, enqueued_at=None)
    yield replace(entry, message=in_ascii, result=None, reason=_ascii(reason))


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
