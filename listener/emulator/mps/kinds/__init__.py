"""The table of the kinds of jobs that the emulator answers for, one module each."""

from __future__ import annotations

from listener.emulator.mps.kinds.analysis import ANALYSIS
from listener.emulator.mps.kinds.fp_shot import FP_SHOT
from listener.emulator.mps.kinds.iproduction import IPRODUCTION
from listener.emulator.mps.kinds.media_censor import MEDIA_CENSOR
from listener.emulator.mps.kinds.media_info import MEDIA_INFO
from listener.emulator.mps.kinds.smarttag import SMARTTAG
from listener.emulator.mps.kinds.snapshot import SNAPSHOT
from listener.emulator.mps.kinds.transcode import TRANSCODE
from listener.emulator.mps.kinds.workflow import WORKFLOW

EMULATED_KINDS = (
    *(IPRODUCTION, TRANSCODE, SNAPSHOT, ANALYSIS, MEDIA_INFO),
    *(SMARTTAG, FP_SHOT, MEDIA_CENSOR, WORKFLOW),
)
