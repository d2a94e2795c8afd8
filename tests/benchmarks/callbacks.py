"""Callbacks by the series: the server that sends them and the store that knows their jobs agree on their ids."""

from __future__ import annotations

import hashlib
from typing import Final

from tests.support.builders import a_callback, wrapped

QUEUE: Final = "mps-callbacks"


def job_id(series: str, number: int) -> str:
    """32 hex digits without any order, as MPS's are: an ordered id would flatter every index."""
    return hashlib.md5(f"{series}-{number}".encode(), usedforsecurity=False).hexdigest()


def body(series: str, number: int, *, user_data: str = "") -> str:
    """The message body of that job's callback, base64 as the SDK's sample loop expects it."""
    members = {"UserData": user_data} if user_data else {}
    return wrapped(a_callback(JobId=job_id(series, number), **members))
