"""The table of the kinds of jobs that the emulator answers for, one module each."""

from __future__ import annotations

from listener.emulator.mps.kinds.iproduction import IPRODUCTION

EMULATED_KINDS = (IPRODUCTION,)
