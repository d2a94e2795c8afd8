"""The table of the kinds of jobs that the emulator answers for, one module each."""

from __future__ import annotations

from listener.emulator.mps.kinds.iproduction import IPRODUCTION
from listener.emulator.mps.kinds.media_info import MEDIA_INFO
from listener.emulator.mps.kinds.snapshot import SNAPSHOT
from listener.emulator.mps.kinds.transcode import TRANSCODE

EMULATED_KINDS = (IPRODUCTION, TRANSCODE, SNAPSHOT, MEDIA_INFO)
