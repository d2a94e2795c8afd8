"""A handler package that notes what happens to its handlers, and that can be held up."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.packages import install

SOURCE: Final = """
import threading

events = []
began, may_return, may_close = threading.Event(), threading.Event(), threading.Event()
may_return.set()
may_close.set()


class Noting:
    def __init__(self, label):
        self.label = label

    def __call__(self, result):
        began.set()
        may_return.wait(30)
        events.append(f"returned {self.label}")

    def close(self):
        may_close.wait(30)
        events.append(f"closed {self.label}")
        if self.label == "exits":
            raise SystemExit(3)


def noting(label: str = "one", extra: int = 0, secret_file: str = ""):
    if label == "broken":
        raise ValueError("broken on purpose")
    events.append(f"built {label}")
    return Noting(label)
"""


def install_noting(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Install it for this test; it is not imported yet."""
    install(monkeypatch, directory, "noting", source=SOURCE)


def imported_noting() -> Any:
    """The package: ``events``, and the events that let calls return and closes happen (both at first)."""
    return importlib.import_module("noting")
