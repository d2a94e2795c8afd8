"""A plug-in of pytest: the fixtures ``mns_emulator`` and ``mns_emulator_module``.

pytest loads it in every run of an environment that has this package, so it imports nothing before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from listener.emulator.testing import MnsEmulator


@pytest.fixture(scope="module")
def mns_emulator_options() -> Mapping[str, Any]:
    """The options of the emulators of a module, those of ``listener.emulator.Options``; to be overridden."""
    return {}


@pytest.fixture
def mns_emulator(mns_emulator_options: Mapping[str, Any]) -> Iterator[MnsEmulator]:
    """An emulator of MNS and MPS for one test."""
    from listener.emulator.testing import emulator

    with emulator(**mns_emulator_options) as running:
        yield running


@pytest.fixture(scope="module")
def mns_emulator_module(mns_emulator_options: Mapping[str, Any]) -> Iterator[MnsEmulator]:
    """An emulator of MNS and MPS that the tests of a module share; ``reset()`` empties it."""
    from listener.emulator.testing import emulator

    with emulator(**mns_emulator_options) as running:
        yield running
