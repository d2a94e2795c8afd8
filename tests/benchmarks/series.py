"""The queue, and the ids of the jobs of a series. Baselines import this, and nothing of the listener's."""

from __future__ import annotations

import hashlib
from typing import Final

QUEUE: Final = "mps-callbacks"


def job_id(series: str, number: int) -> str:
    """32 hex digits without any order, as MPS's are: an ordered id would flatter every index."""
    return hashlib.md5(f"{series}-{number}".encode(), usedforsecurity=False).hexdigest()
