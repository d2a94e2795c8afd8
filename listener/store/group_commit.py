"""Group commit: what several threads want to write at the same moment becomes one transaction, and one fsync."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from listener.core.errors import StoreUnavailable
from listener.store.database import Database

Value = TypeVar("Value")

#: More than this would make the first one wait for long.
LARGEST_GROUP = 32
#: PostgreSQL's codes for a deadlock, and for a row that another transaction wrote since we looked.
CONFLICTS = frozenset({"40P01", "23505"})
CONFLICTS_IN_A_ROW = 3


class _Write(Generic[Value]):
    """One thread's work, and what came of it."""

    def __init__(self, work: Callable[[Connection], Value]) -> None:
        self.work = work
        self.ended = False
        self.value: Value | None = None
        self.error: Exception | None = None

    def outcome(self) -> Value:
        if self.error is not None:
            raise self.error
        return cast(Value, self.value)


class GroupCommit:
    """Whoever gets the lock carries out what all the others are waiting for, too.

    Only where the database has one writer at a time anyway; elsewhere everybody has a transaction of their own. Work
    may be carried out twice: if one of a group fails, or two processes are in each other's way, the transaction is
    undone, and each is done alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leader = threading.Lock()
        self._waiting: deque[_Write[Any]] = deque()

    def run(self, work: Callable[[Connection], Value]) -> Value:
        """What ``work`` returns, once it is durable; or raises what it raises, and then nothing of it happened."""
        if not self._database.one_writer:
            return self._run_alone(work)
        mine = _Write(work)
        self._waiting.append(mine)
        with self._leader:
            while not mine.ended:
                self._carry_out(self._next_group())
        return mine.outcome()

    def _run_alone(self, work: Callable[[Connection], Value]) -> Value:
        """Again, where another process wanted the same rows at the same moment, and one of the two had to yield."""
        for _ in range(CONFLICTS_IN_A_ROW):
            try:
                return self._run_once(work)
            except StoreUnavailable as error:
                if error.code not in CONFLICTS:
                    raise
        return self._run_once(work)

    def _run_once(self, work: Callable[[Connection], Value]) -> Value:
        with self._database.write() as connection:
            return work(connection)

    def _next_group(self) -> Sequence[_Write[Any]]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]

    def _carry_out(self, group: Sequence[_Write[Any]]) -> None:
        try:
            with self._database.write() as connection:
                for write in group:
                    write.value = write.work(connection)
        except Exception as error:
            if len(group) > 1:
                for write in group:
                    self._carry_out([write])
                return
            group[0].error = error
        except BaseException:
            self._waiting.extend(group)  # only this thread is ending; the others carry on
            raise
        for write in group:
            write.ended = True
