"""Callbacks by the series: the server that sends them and the store that knows their jobs agree on their ids."""

from __future__ import annotations

from tests.benchmarks.series import job_id
from tests.support.builders import a_callback, wrapped


def body(series: str, number: int, *, user_data: str = "") -> str:
    """The message body of that job's callback, base64 as the SDK's sample loop expects it."""
    members = {"UserData": user_data} if user_data else {}
    return wrapped(a_callback(JobId=job_id(series, number), **members))
