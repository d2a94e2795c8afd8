"""Which kind of failure an error of the database is."""

from __future__ import annotations

from typing import Final

from listener.core.errors import StoreFailureKind

#: Beginnings of SQLite's error names and of PostgreSQL's SQLSTATE codes; the first match counts.
_KINDS: Final = (
    # SQLite
    (("SQLITE_BUSY", "SQLITE_LOCKED"), StoreFailureKind.LOCKED),
    (("SQLITE_INTERRUPT",), StoreFailureKind.TIMEOUT),
    # A write beyond a quota or a limit of the file's size is reported as an error of input and output.
    (("SQLITE_FULL", "SQLITE_IOERR_WRITE"), StoreFailureKind.DISK_FULL),
    (("SQLITE_READONLY",), StoreFailureKind.READ_ONLY),
    (("SQLITE_",), StoreFailureKind.DATABASE),
    # PostgreSQL
    (("55P03",), StoreFailureKind.LOCKED),
    (("57014",), StoreFailureKind.TIMEOUT),
    (("53100",), StoreFailureKind.DISK_FULL),
    (("25006",), StoreFailureKind.READ_ONLY),
    (("08", "57P", "53300", "28"), StoreFailureKind.CONNECTION),
)


def failure_kind(error: BaseException | None) -> StoreFailureKind:
    """The kind of this error of a driver."""
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    # The error did not come from the database: the driver could not reach it, or gave up waiting.
    if not code:
        timed_out = "timeout" in type(error).__name__.lower()
        return StoreFailureKind.TIMEOUT if timed_out else StoreFailureKind.CONNECTION
    return next(
        (kind for beginnings, kind in _KINDS if code.startswith(beginnings)), StoreFailureKind.DATABASE
    )
