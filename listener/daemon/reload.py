"""What SIGHUP reloads, and which changes need a restart. ``Daemon.reload`` carries it out."""

from __future__ import annotations

from typing import Final

from listener.settings.sections import Settings

#: The sections that a running process takes over at SIGHUP. A change in any other section needs a restart, and is
#: reported as ``needs_restart`` in the log line ``settings.reloaded``.
RELOADABLE: Final = ("routes", "retry", "correlation")


def apply_reloadable(running: Settings, new: Settings) -> Settings:
    """The running settings with the reloadable sections of the new ones."""
    return running.model_copy(update={name: getattr(new, name) for name in RELOADABLE})


def sections_needing_restart(running: Settings, new: Settings) -> list[str]:
    """The sections that differ from the running ones, but are not reloaded."""
    fixed = [name for name in Settings.model_fields if name not in RELOADABLE]
    return [name for name in fixed if getattr(running, name) != getattr(new, name)]
