"""What the clients of MNS for Node.js expect of the service, the emulator does. The checks are in node/checks.js."""

from __future__ import annotations

from typing import Any

import pytest

from listener.emulator.server import running
from tests.support.node import run_checks

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node_checks() -> list[dict[str, Any]]:
    """All checks run in one process of Node.js."""
    with running() as emulator:
        return run_checks(emulator.port)


@pytest.mark.parametrize(
    ("client", "count"),
    [pytest.param("@alicloud/mns", 10, id="official"), pytest.param("ali-mns", 6, id="community")],
)
def test_clients_for_node_get_what_they_expect(
    node_checks: list[dict[str, Any]], client: str, count: int
) -> None:
    errors = [each["error"] for each in node_checks if each["client"] == client]

    assert len(errors) == count
    assert [error for error in errors if error] == []
