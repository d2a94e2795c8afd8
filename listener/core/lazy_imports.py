"""Imports at the top of a module whose cost is paid only by what uses them.

::

    with lazy_imports():
        from listener.store import queries

``queries`` is the module, for readers and for mypy alike, but its code runs when one of its names is used first. So
the help of a command does not load what only the command needs. Import modules like this, not names from them: that
would use the module.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

#: Other packages stay as their authors tested them.
OURS = "listener."


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Modules of the listener that are imported within are loaded when they are used first, by whichever thread."""
    sys.meta_path.insert(0, _LazyFinder)
    try:
        yield
    finally:
        sys.meta_path.remove(_LazyFinder)


@contextmanager
def hidden_package(name: str) -> Iterator[None]:
    """Within, this package cannot be imported, unless that was done before: for others that would use it for nothing.

    Only where no other thread imports anything.
    """
    if name in sys.modules:
        yield
        return
    hidden = cast("dict[str, ModuleType | None]", sys.modules)  # of a module that is None, the import fails
    hidden[name] = None
    try:
        yield
    finally:
        del sys.modules[name]


class _LazyFinder:
    """Finds our modules as usual, and postpones their execution; packages are executed at once."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(OURS):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader and spec.submodule_search_locations is None:
            spec.loader = _LazyLoader(spec.loader)
        return spec


@dataclass(slots=True)
class _LazyLoader(Loader):
    """The standard library's ``LazyLoader`` is not safe to use from several threads before Python 3.11.9 and 3.12.3."""

    loader: Loader
    lock: threading.RLock = field(default_factory=threading.RLock)
    running: bool = False
    done: bool = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__
        module.__spec__.loader_state = self
        module.__class__ = _LazyModule

    def run(self, module: ModuleType) -> None:
        """Execute the module, unless that is done or this thread is doing it. Other threads wait for its end."""
        with self.lock:
            if self.running or self.done:
                return
            self.running = True
            try:
                self.loader.exec_module(module)
                module.__class__ = ModuleType
                module.__loader__ = self.loader
                self.done = True
            finally:
                self.running = False


class _LazyModule(ModuleType):
    """A module that runs once it is asked for anything."""

    def __getattribute__(self, name: str) -> Any:
        object.__getattribute__(self, "__spec__").loader_state.run(self)
        return object.__getattribute__(self, name)
