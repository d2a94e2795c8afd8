"""A faithful local emulator of MNS 2015-06-06 and MPS 2014-06-18; one port serves both, state lives in memory.

``Emulator`` is the state, ``listener.emulator.server.running`` puts it on a port.
"""

from __future__ import annotations

from listener.emulator.emulator import Emulator
from listener.emulator.faults import Fault, FaultKind
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options

__all__ = ["DEFAULT_PIPELINE_ID", "Emulator", "Fault", "FaultKind", "Options"]
