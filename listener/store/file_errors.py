"""Errors of the file system around a SQLite database, as errors of the store."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.engine import URL

from listener.core.errors import StoreFailureKind, StoreUnavailable
from listener.store.url_display import display_url

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unavailable(url: URL, action: str, error: OSError) -> StoreUnavailable:
    """``action`` is what failed, such as "cannot write to /var/lib"."""
    full = error.errno in _FULL
    return StoreUnavailable(
        f"store {display_url(url)}: {action}: {error.strerror}",
        kind=StoreFailureKind.DISK_FULL if full else StoreFailureKind.READ_ONLY,
        hint="free disk space"
        if full
        else "check that the file and its folder are writable for the user that runs mns-listener, and on a local disk",
    )
