"""Whether this machine suits: its clock, its disk and the permissions of the store, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.exit_codes import ExitCode
from listener.formats.durations import duration_text

#: A clock that is kept right is off by much less; MNS rejects requests that are off by more than the second one.
CLOCK_WARNING: Final = timedelta(minutes=1)
CLOCK_REJECTED: Final = timedelta(minutes=15)
#: Enough for the records of some hundred thousand jobs.
MIN_FREE_BYTES: Final = 256 * 1024 * 1024


def judge_clock(offsets: Sequence[timedelta]) -> CheckResult:
    """By how much the clock of this machine is ahead of those of services, or behind if negative; not empty."""
    worst = max(offsets, key=abs)
    off = f"this clock is {duration_text(abs(worst))} {'ahead of' if worst > timedelta(0) else 'behind'} that of MNS"
    if abs(worst) < CLOCK_WARNING:
        return CheckResult(level=Level.OK, kind=CheckKind.CLOCK, detail="this clock agrees with that of MNS")
    rejected = abs(worst) >= CLOCK_REJECTED
    return CheckResult(
        level=Level.FAILED if rejected else Level.WARNING,
        kind=CheckKind.CLOCK,
        detail=f"{off}; requests that are off by more than 15 minutes are rejected, and from 5 minutes on nothing is "
        "pruned and no job becomes Lost",
        advice="correct the clock of this machine, and have NTP keep it right",
        exit_code=ExitCode.UNAVAILABLE if rejected else ExitCode.OK,
    )


def judge_disk(folder: str, *, free_bytes: int) -> CheckResult:
    """Whether there is room for the store in its folder."""
    detail = f"{free_bytes // 1024**2} MiB are free in {folder}"
    if free_bytes >= MIN_FREE_BYTES:
        return CheckResult(level=Level.OK, kind=CheckKind.DISK_SPACE, detail=detail)
    return CheckResult(
        level=Level.WARNING,
        kind=CheckKind.DISK_SPACE,
        detail=f"{detail}: once the disk is full, nothing is recorded, and callbacks wait in the queue",
        advice="free disk space, set a shorter store.retention, or move the store",
    )


def judge_modes(modes: Mapping[str, int]) -> CheckResult:
    """The modes of the files of a store, by name."""
    open_files = [name for name, mode in modes.items() if mode & 0o077]
    if not open_files:
        return CheckResult(
            level=Level.OK, kind=CheckKind.STORE_FILES, detail="only their owner can read and write them"
        )
    return CheckResult(
        level=Level.WARNING,
        kind=CheckKind.STORE_FILES,
        detail=f"other users can read or write {', '.join(open_files)}, and so user data, inputs and outputs",
        advice=f"chmod 600 {' '.join(open_files)}",
    )
