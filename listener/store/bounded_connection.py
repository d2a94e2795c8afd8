"""A connection to PostgreSQL whose waits end at the deadline of the transaction, whatever the server does.

Importing this module requires the driver.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from listener.store.deadline import Deadline

Value = TypeVar("Value")


class StatementTimeout(psycopg.OperationalError):
    """The server did not answer before the deadline."""


class BoundedConnection(psycopg.Connection[Any]):
    """``statement_timeout`` is enforced by the server, and TCP keepalives are answered by its kernel: neither helps
    against a server that stands still. Therefore this connection is closed when the deadline has passed.
    """

    deadline: Deadline

    def wait(self, gen: PQGen[Value], *args: Any, **options: Any) -> Value:
        """What the generator returns; the driver waits through this method whenever it waits for the server."""
        return super().wait(self._until_deadline(gen), *args, **options)

    def _until_deadline(self, gen: PQGen[Value]) -> PQGen[Value]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # The driver resumes with "nothing is ready" ten times a second.
                if not ready and self.deadline.passed():
                    self.pgconn.finish()
                    raise StatementTimeout("the server does not answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            value: Value = done.value
            return value


def connect(deadline: Deadline, **parameters: Any) -> BoundedConnection:
    """Connect to the server, but not beyond the deadline."""
    if deadline.passed():
        raise StatementTimeout("the server does not answer")  # as found out with an earlier connection
    own = float(parameters["connect_timeout"])
    limit = min(own or math.inf, deadline.seconds_left)  # for libpq, 0 is no limit
    if math.isfinite(limit):
        parameters["connect_timeout"] = math.ceil(limit)
    connection = BoundedConnection.connect(**parameters)
    connection.deadline = deadline
    return connection
