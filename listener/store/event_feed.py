"""The event feed: what was recorded, finished and settled, in the order in which it was committed.

It reads the log of changes (``changes``) and, for each row that a change lists, how that row is now. Whoever follows
gets every change that is committed, whichever process made it:

- SQLite has one writer at a time, so a change never becomes visible after one with a greater id.
- On PostgreSQL it may. Ids that were missed on the way are looked for again until the transactions that might have used
  them have ended (see ``Position``).

What is read again after a restart begins after the event whose cursor was given. Twice come: a settlement that was
written again after a commit of which the answer was lost; a job that two processes finish at the same time; and, on
PostgreSQL, the rest of a batch that was cut at a cursor within it and had become visible late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, select, text

from listener.core.errors import UsageError
from listener.store.database import Database
from listener.store.feed_events import Entry, FeedEvent, Fields, entries_of, fields_of, table_of
from listener.store.feed_position import MAX_OPEN, Position
from listener.store.postgres import is_postgres
from listener.store.tables import EARLIEST, changes
from listener.store.unreadable import each_of, log_unreadable, read

#: How many changes one page reads at most, and after how many rows of these it ends.
CHANGES_PER_PAGE: Final = 100
ROWS_PER_PAGE: Final = 500
#: The clocks of processes that write to the same store differ by less.
CLOCKS_DIFFER: Final = timedelta(minutes=5)
#: How many changes ``newest`` looks at, if few events are wanted.
NEWEST_LOOKS_AT: Final = 20_000

_COLUMNS = select(changes.c.id, changes.c.kind, changes.c.at, changes.c.row_ids)
#: Of a snapshot: the oldest transaction that had not ended, and the number of the next one. 64 bits, so they only grow.
_TRANSACTIONS = text(
    "SELECT txid_snapshot_xmin(txid_current_snapshot()), txid_snapshot_xmax(txid_current_snapshot())"
)

Load = Callable[[Connection, Sequence[Entry]], dict[Entry, Fields]]
"""How the rows are read: ``fields_of``, or one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """A part of the feed."""

    events: Sequence[FeedEvent]
    position: Position  #: where the next page begins
    more: bool  #: whether there is a next page already


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFilter:
    """Only events that match all fields; an empty field matches every event."""

    event: str = ""
    route: str = ""
    function: str = ""  #: in any case, as ``state``
    state: str = ""

    def matches(self, event: FeedEvent) -> bool:
        return (
            self.event in ("", event.event)
            and (not self.route or self.route in event.routes)
            and (not self.function or self.function.casefold() == event.function.casefold())
            and (not self.state or self.state.casefold() == event.state.casefold())
        )


ALL_EVENTS: Final = FeedFilter()


class EventFeed:
    """Each method reads one consistent snapshot. Rows that cannot be read are logged and left out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def end(self) -> Position:
        """After everything that is committed."""
        with self._database.read() as connection:
            return _position_after(connection, connection.scalar(select(func.max(changes.c.id))) or 0)

    def since(self, at: datetime) -> Position:
        """Before everything that was written at this time or later, by the clock of whoever wrote it.

        What others wrote after the first of these follows too, also if their clocks say that it was earlier.
        """
        newest_first = select(changes.c.id).order_by(changes.c.id.desc()).limit(1)
        with self._database.read() as connection:
            # At the very first times there is none so much earlier.
            earliest = max(at, EARLIEST) - CLOCKS_DIFFER
            # Found from the end, since the time has no index.
            earlier = connection.scalar(newest_first.where(changes.c.at < earliest)) or 0
            later = select(changes.c.id).where(changes.c.id > earlier, changes.c.at >= at)
            first = connection.scalar(later.order_by(changes.c.id).limit(1))
            before = first - 1 if first else connection.scalar(newest_first) or 0
            return _position_after(connection, before)

    def known(self, position: Position) -> Position:
        """This position. Raises UsageError if it is ahead of everything that is committed, as in another store."""
        with self._database.read() as connection:
            newest = connection.scalar(select(func.max(changes.c.id))) or 0
        if position.change > newest:
            raise UsageError(
                f"the cursor {position} is ahead of this store, whose last change is {newest}; begin without a cursor"
            )
        return position

    def after(self, position: Position) -> FeedPage:
        """The next events."""
        return read(
            self._database,
            lambda connection: _page(connection, position, fields_of),
            lambda connection: _page(connection, position, _fields_of_each),
        )

    def newest(self, count: int, wanted: FeedFilter = ALL_EVENTS) -> FeedPage:
        """The last events that match, and the position after them; only the newest changes are looked at."""
        return read(
            self._database,
            lambda connection: _newest(connection, count, wanted, fields_of),
            lambda connection: _newest(connection, count, wanted, _fields_of_each),
        )


def _page(connection: Connection, position: Position, load: Load) -> FeedPage:
    found, more = _cut(_next_changes(connection, position))
    events, reached = _read(connection, found, position, load)
    if is_postgres(connection) and not more:
        oldest, next_number = connection.execute(_TRANSACTIONS).one()
        reached = reached.without_ended(oldest=oldest, next_number=next_number)
    return FeedPage(events=events, position=reached, more=more)


def _read(
    connection: Connection, found: Iterable[Row[Any]], position: Position, load: Load
) -> tuple[list[FeedEvent], Position]:
    """The events of these changes, and the position after them."""
    places = list(_places(found, position, gaps=is_postgres(connection)))
    fields = load(connection, [entry for entry, _ in places if entry])
    events = [FeedEvent(cursor=str(after), **fields[entry]) for entry, after in places if entry in fields]
    return events, places[-1][1] if places else position


def _next_changes(connection: Connection, position: Position) -> Sequence[Row[Any]]:
    """Those that have become visible late, then those that follow."""
    late = _COLUMNS.where(changes.c.id.in_(position.open)).order_by(changes.c.id)
    first = changes.c.id >= position.change if position.rows else changes.c.id > position.change
    new = _COLUMNS.where(first).order_by(changes.c.id).limit(CHANGES_PER_PAGE)
    return [*(connection.execute(late) if position.open else ()), *connection.execute(new)]


def _cut(found: Sequence[Row[Any]]) -> tuple[Sequence[Row[Any]], bool]:
    """The changes of a page, and whether there are more."""
    rows = 0
    for number, change in enumerate(found, 1):
        rows += change.row_ids.count(",") + 1
        if rows >= ROWS_PER_PAGE and number < len(found):
            return found[:number], True
    return found, len(found) >= CHANGES_PER_PAGE


def _places(
    found: Iterable[Row[Any]], position: Position, *, gaps: bool
) -> Iterator[tuple[Entry | None, Position]]:
    """Each row of these changes with the position after it; no entry for a change that cannot be read."""
    for change in found:
        skipped = position.rows if change.id == position.change else 0
        if gaps and change.id > position.change:
            between = range(max(position.change + 1, change.id - MAX_OPEN), change.id)
            position = position.missing(between)
        entries = _entries(change)
        for number, entry in enumerate(entries[skipped:-1], skipped + 1):
            yield entry, position.within(change.id, number)
        position = position.after(change.id)
        yield entries[-1] if len(entries) > skipped else None, position


def _entries(change: Row[Any]) -> Sequence[Entry]:
    try:
        return entries_of(change.kind, change.at, change.row_ids)
    except ValueError as error:
        log_unreadable(changes, change.id, error)
        return ()


def _fields_of_each(connection: Connection, entries: Sequence[Entry]) -> dict[Entry, Fields]:
    fields: dict[Entry, Fields] = {}
    for entry in entries:
        for found in each_of(connection, table_of(entry), [entry.row], _reader(connection, entry)):
            fields |= found
    return fields


def _reader(connection: Connection, entry: Entry) -> Callable[[int], dict[Entry, Fields]]:
    return lambda _row: fields_of(connection, [entry])


def _position_after(connection: Connection, change: int) -> Position:
    """After this change; those before it that are not visible yet are open."""
    position = Position(change)
    if not is_postgres(connection):
        return position
    first = max(1, change - MAX_OPEN)
    there = set(connection.scalars(select(changes.c.id).where(changes.c.id.between(first, change))))
    return position.missing(each for each in range(first, change) if each not in there)


def _newest(connection: Connection, count: int, wanted: FeedFilter, load: Load) -> FeedPage:
    newest = connection.scalar(select(func.max(changes.c.id))) or 0
    events: list[FeedEvent] = []
    before = newest + 1
    for _ in range(NEWEST_LOOKS_AT // CHANGES_PER_PAGE):
        rows = connection.execute(_changes_before(before)).all() if len(events) < count else []
        if not rows:
            break
        before = rows[-1].id
        found, _ = _read(connection, rows[::-1], _position_after(connection, before - 1), load)
        events = [*filter(wanted.matches, found), *events]
    position = _position_after(connection, newest)
    return FeedPage(events=events[-count:] if count else [], position=position, more=False)


def _changes_before(change: int) -> Select[Any]:
    return _COLUMNS.where(changes.c.id < change).order_by(changes.c.id.desc()).limit(CHANGES_PER_PAGE)
