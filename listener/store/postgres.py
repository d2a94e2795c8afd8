"""What only PostgreSQL needs and can do: patience with a network, locks with a meaning, news for other processes.

Nothing here imports the driver; whoever names PostgreSQL in store.url has it installed.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.engine import URL

#: Says that there are deliveries which nobody has claimed yet.
CHANNEL: Final = "mns_listener_deliveries"
#: Keys of advisory locks: "mnsl", and what is locked.
UPGRADE_LOCK: Final = (0x6D6E736C, 1)
RETENTION_LOCK: Final = (0x6D6E736C, 2)
#: A server that vanished without a word is noticed within half a minute. What store.url says wins.
_PATIENCE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "mns-listener",
}

_LOCK = select(func.pg_advisory_xact_lock(*UPGRADE_LOCK))
_TRY_RETENTION = select(func.pg_try_advisory_xact_lock(*RETENTION_LOCK))
_ANNOUNCE = select(func.pg_notify(CHANNEL, ""))


def engine(url: URL) -> Engine:
    """Raises ModuleNotFoundError where the driver is not installed."""
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    return sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args=patience)


def is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def wait_for_upgrades(connection: Connection) -> None:
    """No other process upgrades the schema until this transaction ends."""
    connection.execute(_LOCK)


def may_clean(connection: Connection) -> bool:
    """Whether no other process deletes old rows until this transaction ends."""
    return bool(connection.scalar(_TRY_RETENTION))


def notify(connection: Connection) -> None:
    """Tell all processes, once this is committed, that there are deliveries to claim."""
    if is_postgres(connection):
        connection.execute(_ANNOUNCE)
