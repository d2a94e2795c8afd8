from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver, a_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as running:
        yield running
