"""A faithful local emulator of MNS (2015-06-06 and its OpenAPI, 2022-01-19) and MPS 2014-06-18, all on one port.

``Emulator`` is the state, ``listener.emulator.server.running`` serves it on a port.
"""

from __future__ import annotations

from listener.emulator.emulator import Emulator
from listener.emulator.faults import Fault, FaultKind
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options

__all__ = ["DEFAULT_PIPELINE_ID", "Emulator", "Fault", "FaultKind", "Options"]
