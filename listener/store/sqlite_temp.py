"""Where SQLite keeps what it needs for the time of a statement: the pages that it would have to restore if the
statement failed, and what it sorts.

It keeps 64 kB of those pages in memory, and writes the others to a file that it creates for each transaction. The keys
of a batch of results are in random order, so each of them changes another page of 4 kB: that file took half of the
time of the INSERT. What a statement changes without a limit must not be kept in memory, and neither must what an
index of all rows or VACUUM sorts.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

_TEMP_STORE: Final = "temp_store"
#: SQLite's own choice: files, once they are large.
FILES: Final = "DEFAULT"
MEMORY: Final = "MEMORY"


def use_temp_store(connection: Connection, where: str) -> None:
    """Keep it there from now on; only outside of a transaction. The usual transaction needs no statement for this."""
    if connection.info.get(_TEMP_STORE, FILES) != where:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA temp_store = {where}")
        connection.info[_TEMP_STORE] = where
