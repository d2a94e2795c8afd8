"""The handlers of the soak: they write down themselves which calls they received, outside the listener's store.

The folder comes from SOAK_FOLDER. What a call shall do rides in the job's user data as ``do``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from listener import JobResult, Reject, Retry, Unavailable

RETRY_AFTER = 0.1


def record(result: JobResult) -> None:
    """Do what the user data says, between a "begin" line and one with its ending."""
    with _logged_call(result, "record"):
        _act(result)


def once(result: JobResult) -> None:
    """An effect that happens once however often it is asked for: the idempotency key is enough for that."""
    with _logged_call(result, "once"):
        _claim_effect(result.key)


def forget(result: JobResult) -> None:
    """Nothing at all: for runs that look at the listener alone."""


def _claim_effect(key: str) -> None:
    try:
        os.close(os.open(_folder("effects") / key.replace("/", "_"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        pass  # done by an earlier attempt whose end was not recorded


@contextmanager
def _logged_call(result: JobResult, handler: str) -> Iterator[None]:
    fields = {"key": result.key, "attempt": result.attempt, "pid": os.getpid(), "handler": handler}
    more = {"n": result.data.get("n"), "job": result.job_id, "state": result.state, "route": result.route}
    _write({"what": "begin", **fields, **more})
    try:
        yield
    except Exception:
        _write({"what": "raised", **fields})
        raise
    _write({"what": "returned", **fields})


def _act(result: JobResult) -> None:
    times = int(result.data.get("times", 0))
    match result.data.get("do"):
        case "slow":
            time.sleep(float(result.data["seconds"]))
        case "fail" if _raised_so_far(result) < times:
            raise RuntimeError("as planned")
        case "retry" if _raised_so_far(result) < times:
            raise Retry("as planned", after=RETRY_AFTER)
        case "unavailable" if _raised_so_far(result) < times:
            raise Unavailable("as planned", after=RETRY_AFTER)
        case "reject":
            raise Reject("as planned")


def _raised_so_far(result: JobResult) -> int:
    """How often this has raised before, in whatever process; counts this time."""
    with (_folder("raised") / str(result.data["n"])).open("ab") as file:
        before = file.tell()
        file.write(b".")
    return before


def _write(line: dict[str, Any]) -> None:
    """One line, in one piece, on disk when this returns."""
    text = json.dumps({**line, "at": time.monotonic()}) + "\n"
    os.write(_evidence(), text.encode())
    os.fsync(_evidence())


@cache
def _evidence() -> int:
    path = _folder("evidence") / f"{os.getpid()}.jsonl"
    return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def _folder(name: str) -> Path:
    return Path(os.environ["SOAK_FOLDER"]) / name
