"""What signing in needs besides sessions: where to go afterwards, and the words of its errors."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "Unknown token. Use one of the file that http.token_file names."
TOO_MANY: Final = "Too many sign-ins at the same time; retry."


def local_path(wanted: str) -> str:
    """The path to show after the sign-in; the first page instead of anything that leads to another host."""
    leads_away = not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or not wanted.isprintable()
    return "/" if leads_away else wanted
