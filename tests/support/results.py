"""A JobResult for tests with every field defaulted."""

from __future__ import annotations

from typing import Any

from listener import JobResult


def a_job_result(**fields: Any) -> JobResult:
    """What a handler gets for a successful job; say only what matters to the test."""
    return JobResult(
        **{
            "key": "39f8e0bc005e4f309379701645f4a1b2:Success:captions/webhook",
            "attempt": 1,
            "route": "captions",
            "job_id": "39f8e0bc005e4f309379701645f4a1b2",
            "type": "IProduction",
            "function": "VideoH2V",
            "state": "Success",
            "code": "Success",
            "message": "success",
            "user_data": '{"title": "早安"}',
            "data": {"title": "早安"},
            "raw": '{"JobId":"39f8e0bc005e4f309379701645f4a1b2","State":"Success"}',
            **fields,
        }
    )
