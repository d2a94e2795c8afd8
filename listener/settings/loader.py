"""Where settings come from: a file, and the environment of this process."""

from __future__ import annotations

import os
from pathlib import Path

from listener.core.errors import SettingsError
from listener.settings import sections
from listener.settings.sections import Settings

DEFAULT_CONFIG = Path("listener.toml")


def settings_from(path: Path | str | None = None) -> Settings:
    """Settings from a file and the environment; without a path from ./listener.toml, if it is there.

    Raises SettingsError.
    """
    found = Path(path) if path else DEFAULT_CONFIG
    if path is None and not found.exists():
        return sections.load("", os.environ, source="environment")
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"settings file {str(found)!r} can't be read: {reason}") from error
    return sections.load(text, os.environ, source=str(found))
