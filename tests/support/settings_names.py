"""What the environment can say, so that examples can be held to it."""

from __future__ import annotations

import re

from listener.core.errors import SettingsError
from listener.settings import loader

#: Enough for every list item that an example names to be there.
BASE = """
[[queues]]
endpoint = "http://127.0.0.1:1"
queue = "q"
[[routes]]
name = "all"
handlers = [{ use = "log" }]
"""


def named_in(text: str) -> list[str]:
    return re.findall(r"\bMNS_LISTENER_[A-Z0-9_]+", text)


def unknown(names: list[str]) -> list[str]:
    """Those that are no setting, and have no other purpose."""
    return [name for name in names if not _is_known(name)]


def _is_known(name: str) -> bool:
    try:
        loader.load(BASE, {name: "x"})
    except SettingsError as error:
        return "unknown key" not in str(error) and "does not match any setting" not in str(error)
    return True
