"""What only PostgreSQL needs and offers: connection timeouts, advisory locks, notifications to other processes.

Nothing here imports the driver, which is only installed where store.url names PostgreSQL.
"""

from __future__ import annotations

import select as sockets
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Engine, event, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError

from listener.core.errors import SettingsError
from listener.store.deadline import Deadline

#: The notification channel: there are unclaimed deliveries.
CHANNEL: Final = "mns_listener_deliveries"
#: Keys of advisory locks: "mnsl", and a number for the purpose.
UPGRADE_LOCK: Final = (0x6D6E736C, 1)
PRUNE_LOCK: Final = (0x6D6E736C, 2)
#: Notice a dead server within half a minute. Parameters in store.url take precedence.
_CONNECTION_TIMEOUTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "mns-listener",
}

#: Creates a database that can hold every text, whatever the encoding and the locale of the server's other ones.
CREATE_UTF8: Final = "createdb --encoding UTF8 --template template0 --locale C NAME"

_WAIT_FOR_UPGRADE_LOCK = select(func.pg_advisory_xact_lock(*UPGRADE_LOCK))
_TRY_PRUNE_LOCK = select(func.pg_try_advisory_xact_lock(*PRUNE_LOCK))
_NOTIFY = select(func.pg_notify(CHANNEL, ""))


def engine(url: URL, deadline: Deadline) -> Engine:
    """Raises ModuleNotFoundError if the driver is not installed.

    Connecting to a database with another encoding than UTF8 raises SettingsError: it cannot hold every text.
    """
    defaults = {name: value for name, value in _CONNECTION_TIMEOUTS.items() if name not in url.query}
    # Not left to PGCLIENTENCODING or store.url: with another one, the driver itself could not encode every text.
    options = defaults | {"client_encoding": "UTF8"}
    made = sqlalchemy.create_engine(url, pool_timeout=deadline.pool_timeout, connect_args=options)

    @event.listens_for(made, "do_connect")
    def connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> Any:
        from listener.store.bounded_connection import connect

        return connect(deadline, **parameters)

    @event.listens_for(made, "connect")
    def check(connection: Any, _record: object) -> None:
        if found := _other_encoding(connection):
            connection.close()
            raise SettingsError(
                f"the PostgreSQL database {url.database!r} has the encoding {found}, which cannot hold every text; "
                f"create another one with `{CREATE_UTF8}`, and set store.url to it"
            )

    @event.listens_for(made, "checkout")
    def verify(connection: Any, record: Any, _proxy: object) -> None:
        # A new one is certainly open; what is noticed then is an error of the transaction.
        if not record.info.setdefault("new", True) and not _is_open(connection):
            raise InvalidatePoolError
        record.info["new"] = False

    return made


def _is_open(connection: Any) -> bool:
    """Whether the server has not closed this unused connection, as far as is known here.

    To ask it would take as long as many a transaction. It sends nothing to an unused connection, except why it closes
    it, or that its settings have changed.
    """
    watched = sockets.poll()
    try:
        watched.register(connection.fileno(), sockets.POLLIN)
    except Exception:  # it is closed on this side
        return False
    return not watched.poll(0)


def _other_encoding(connection: Any) -> str:
    """The encoding of the database unless that is UTF8; servers report it when a client connects."""
    found: str = connection.info.parameter_status("server_encoding") or "UTF8"
    return "" if found == "UTF8" else found


def is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def lock_upgrades(connection: Connection) -> None:
    """Wait until no other process upgrades the schema; none can until this transaction ends."""
    connection.execute(_WAIT_FOR_UPGRADE_LOCK)


def may_prune(connection: Connection) -> bool:
    """Whether this process alone may delete old rows until this transaction ends."""
    return bool(connection.scalar(_TRY_PRUNE_LOCK))


def notify(connection: Connection) -> None:
    """Notify all processes, once this is committed, that there are deliveries to claim."""
    if is_postgres(connection):
        connection.execute(_NOTIFY)
