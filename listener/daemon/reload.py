"""What SIGHUP reloads, and which changes need a restart. ``Daemon.reload`` carries it out."""

from __future__ import annotations

from typing import Final

from listener.settings.sections import Settings

#: What a running process takes over at SIGHUP: sections, and single settings as ``section.name``. A change in anything
#: else needs a restart, and is reported as ``needs_restart`` in the log line ``settings.reloaded``.
RELOADABLE: Final = ("routes", "retry", "correlation", "log.level")


def apply_reloadable(running: Settings, new: Settings) -> Settings:
    """The running settings with what is reloadable of the new ones."""
    merged = running
    for path in RELOADABLE:
        section, _, name = path.partition(".")
        value = getattr(new, section)
        if name:
            value = getattr(merged, section).model_copy(update={name: getattr(value, name)})
        merged = merged.model_copy(update={section: value})
    return merged


def sections_needing_restart(running: Settings, new: Settings) -> list[str]:
    """The sections that differ from the running ones also after a reload."""
    merged = apply_reloadable(running, new)
    return [name for name in Settings.model_fields if getattr(merged, name) != getattr(new, name)]
