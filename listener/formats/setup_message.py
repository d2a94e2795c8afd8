"""The test message of ``mns-listener setup``: like a callback, but of a type of its own that no handler gets."""

from __future__ import annotations

import json
from typing import Final

from listener.core.model import Result
from listener.formats.wrapping import as_base64

#: The type of the message and the beginning of its job ID; neither is used by MPS.
SETUP: Final = "mns-listener-setup"
#: Not terminal, so that it could not end a job even if its type were not recognized.
_STATE: Final = "Submitted"


def setup_message(token: str) -> str:
    """The body of the message: base64 of JSON, as MPS sends callbacks. The token distinguishes it from others."""
    document = {
        "Code": "Success",
        "Details": [],
        "FunctionName": "",
        "JobId": job_id(token),
        "Message": "a test message of `mns-listener setup`",
        "State": _STATE,
        "Type": SETUP,
    }
    return as_base64(json.dumps(document))


def job_id(token: str) -> str:
    return f"{SETUP}-{token}"


def is_setup_message(result: Result) -> bool:
    """Whether no handler is to get this result. A forged one must not suppress the outcome of a job, so its job ID
    cannot be one of MPS, and its state is not terminal."""
    return (
        result.type == SETUP
        and result.job_id.startswith(f"{SETUP}-")
        and not result.terminal
        and not result.activity_job_ids
    )
