"""A place for each test: an emulator, a folder, and the programs that are started there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.emulator import Options
from listener.emulator.server import running
from tests.support.program import QUEUE, Place


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    fresh = request.node.get_closest_marker("fresh_interpreter") is not None
    with running(Options(job_seconds=0.01, queues=(QUEUE,))) as server:
        here = Place(tmp_path, server, fresh)
        try:
            yield here
        finally:
            here.close()
