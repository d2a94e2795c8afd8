from __future__ import annotations

from collections.abc import Iterator

import pytest

from listener.emulator import Emulator, Options
from listener.emulator.server import RunningEmulator, running


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[RunningEmulator]:
    with running(Options(seed=1)) as emulator:
        yield emulator


@pytest.fixture
def server(shared_emulator: RunningEmulator) -> RunningEmulator:
    """An emulator with the queue ``q``."""
    shared_emulator.call(Emulator.reset)
    shared_emulator.call(lambda emulator: emulator.mns.create("q"))
    return shared_emulator
