"""One emulator for most tests, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from listener.emulator import Emulator, Options
from listener.emulator.server import RunningEmulator, running
from tests.support.emulator_clients import BareMns, BareMps, mns_account


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[RunningEmulator]:
    with running(Options(seed=1, job_seconds=0.01)) as emulator:
        yield emulator


@pytest.fixture
def server(shared_emulator: RunningEmulator) -> RunningEmulator:
    shared_emulator.call(Emulator.reset)
    return shared_emulator


@pytest.fixture
def bare(server: RunningEmulator) -> Iterator[BareMns]:
    """A bare MNS client, with the queue ``q`` there."""
    client = BareMns(server.url)
    with client.http:
        assert client.request("PUT", "/queues/q").status_code == 201
        yield client


@pytest.fixture
def mps(server: RunningEmulator) -> Iterator[BareMps]:
    client = BareMps(server.url)
    with client.http:
        yield client


@pytest.fixture
def account(server: RunningEmulator) -> Iterator[Any]:
    with mns_account(server.url) as account:
        yield account
