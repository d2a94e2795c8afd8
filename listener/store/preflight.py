"""Finds out whether a daemon could use a store, without creating or migrating it."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from datetime import timedelta
from typing import Final

from listener.core import clock
from listener.store import schema, write_probe
from listener.store.database import Database, folder_of, parsed_url, sqlite_path
from listener.store.file_errors import unavailable

#: Bytes that must fit into the folder of a SQLite file that is to be created or migrated.
_PROBE_BYTES: Final = 512 * 1024


def found_schema(url: str, *, timeout: timedelta) -> str:
    """The schema version of a store that a daemon could use; empty if it would have to be created.

    Raises what opening it would raise, and StoreUnavailable if it cannot be written, for example on a full disk.
    """
    parsed = parsed_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and not os.path.exists(sqlite_path(parsed)):
        folder_of(parsed)
        found = ""
    else:
        with closing(Database(url, timeout=timeout, read_only=True)) as database:
            found = schema.version(database)
            schema.refuse_unknown(found, database.display_url)
    if is_sqlite and found != schema.HEAD:
        _write_beside(url)
    else:
        _write_into(url, found, timeout)
    return found


def _write_beside(url: str) -> None:
    folder = folder_of(parsed_url(url))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unavailable(parsed_url(url), f"cannot write to {folder}", error) from error


def _write_into(url: str, found: str, timeout: timedelta) -> None:
    with closing(Database(url, timeout=timeout)) as database:
        if found == schema.HEAD:
            with database.write() as connection:
                write_probe.write_and_remove(connection, at=clock.now())
        elif not found:
            schema.rehearse(database)
