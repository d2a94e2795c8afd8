"""Group commit: writes that several threads want at the same time share one transaction and one fsync."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection

from listener.core.errors import StoreFailureKind, StoreRejected, StoreUnavailable
from listener.store.database import Database

Value = TypeVar("Value")

#: How many writes share a transaction at most; the first one waits for all of them.
MAX_GROUP = 32
#: PostgreSQL's codes for a deadlock, and for a row that another transaction inserted after we looked.
CONFLICTS = frozenset({"40P01", "23505"})
#: How often a write is retried after such conflicts.
MAX_RETRIES = 3


class _Write(Generic[Value]):
    """One thread's work, and its return value or error."""

    def __init__(self, work: Callable[[Connection], Value]) -> None:
        self.work = work
        self.ended = False
        self.value: Value | None = None
        self.error: Exception | None = None

    def outcome(self) -> Value:
        if isinstance(self.error, StoreUnavailable):
            # Several threads raise it, and each would lengthen the traceback.
            raise self.error.with_traceback(None)
        if self.error is not None:
            raise self.error
        return cast(Value, self.value)


class GroupCommit:
    """The thread that gets the lock executes the waiting work of all others, too.

    This is for databases with a single writer; on others every thread has its own transaction. Work may be executed
    more than once: if one of a group fails, or two processes conflict, the transaction is rolled back, and each piece
    of work is executed on its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leader = threading.Lock()
        self._waiting: deque[_Write[Any]] = deque()

    def run(self, work: Callable[[Connection], Value]) -> Value:
        """What ``work`` returns, once it is durable. Raises what ``work`` raises; then nothing of it was written."""
        with self._database.call():
            if not self._database.one_writer:
                return self._run_alone(work)
            mine = _Write(work)
            self._waiting.append(mine)
            with self._leader:
                while not mine.ended:
                    self._execute(self._next_group())
            return mine.outcome()

    def _run_alone(self, work: Callable[[Connection], Value]) -> Value:
        """Retry if another process wrote the same rows at the same time and the database rolled ours back."""
        for _ in range(MAX_RETRIES):
            try:
                return self._run_once(work)
            except (StoreUnavailable, StoreRejected) as error:
                if error.code not in CONFLICTS:
                    raise
        return self._run_once(work)

    def _run_once(self, work: Callable[[Connection], Value]) -> Value:
        with self._database.write() as connection:
            return work(connection)

    def _next_group(self) -> Sequence[_Write[Any]]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]

    def _execute(self, group: Sequence[_Write[Any]]) -> None:
        try:
            with self._database.write() as connection:
                for write in group:
                    write.value = write.work(connection)
        except Exception as error:
            if len(group) > 1 and not concerns_all(error):
                for write in group:
                    self._execute([write])
                return
            for write in group:
                write.error = error
        except BaseException:  # raised again, once the work is back in the queue
            self._waiting.extend(group)  # only this thread is ending; another one executes the work
            raise
        for write in group:
            write.ended = True


def concerns_all(error: Exception) -> bool:
    """Whether each piece of work would fail alike: then it is not executed on its own, which takes its time again."""
    return isinstance(error, StoreUnavailable) and error.kind is not StoreFailureKind.DATABASE
