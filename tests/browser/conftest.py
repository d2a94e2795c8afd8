"""Every test of this folder is marked ``browser``: `make test` leaves it out, `make test-browser` runs it."""

from __future__ import annotations

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Do not even import what is not selected: it takes long, in every worker."""
    return None if config.option.markexpr == "browser" else True
