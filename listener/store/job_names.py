"""Names of jobs of which only the beginning is given."""

from __future__ import annotations

from typing import Final

from listener.core.errors import UsageError
from listener.store.queries import Queries

#: Fewer characters are not taken for the beginning of a name.
MIN_BEGINNING: Final = 4
#: How many candidates are listed if a beginning is ambiguous.
MAX_LISTED: Final = 5


def whole_name(queries: Queries, beginning: str) -> str:
    """The only name that begins like this; empty if there is none. Raises UsageError if there are several."""
    if len(beginning) < MIN_BEGINNING:
        return ""
    names = queries.names_starting_with(beginning, limit=MAX_LISTED + 1)
    if len(names) > 1:
        listed = ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
        raise UsageError(
            f"several jobs begin with {beginning!r}: {listed}", field="job", hint="type more of the name"
        )
    return names[0] if names else ""
