"""Third-party handler packages, installed into a directory as pip would do it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch, directory: Path, module: str, *, source: str, points: str | None = None
) -> None:
    """Write ``module`` with its entry points below the directory and put that on the path for this test."""
    (directory / f"{module}.py").write_text(source, "utf-8")
    info = directory / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    entry_points = points or f"[mns_listener.handlers]\n{module} = {module}:{module}\n"
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(directory)
    # Noted as absent now, so that the module is forgotten again after the test.
    monkeypatch.setitem(sys.modules, module, sys)
    del sys.modules[module]
