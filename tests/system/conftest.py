"""Every test of this folder is marked ``system``: `make test` leaves it out, `make test-system` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Do not even import what is not selected: it needs packages of an extra of its own."""
    return None if config.option.markexpr == "system" else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = f"{Path(__file__).parent}/"
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(pytest.mark.system)
