"""The exit codes of all commands. Scripts and supervisors rely on them: they stay the same in every release."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """From 64 on as in sysexits.h, the last three as of timeout(1) and shells. ``meaning`` is for the help text."""

    meaning: str

    OK = 0, "success"
    FAILED = 1, "failure"
    USAGE = 2, "usage error; nothing was changed"
    DRAIN_INCOMPLETE = 3, "`run --drain` left deliveries that have no handler here"
    NOT_FOUND = 66, "what was named does not exist"
    UNAVAILABLE = 69, "unavailable: a service, the store or a file"
    INTERNAL = 70, "a bug in mns-listener"
    EXISTS = 73, "what was to be created exists already; nothing was changed"
    HUNG = 75, "the daemon stopped, but a part of it hung"
    CONFIG = 78, "invalid configuration"
    TIMED_OUT = 124, "timeout while waiting for jobs"
    INTERRUPTED = 130, "interrupted (Ctrl-C); the daemon stops with 0 instead"
    READER_ENDED = 141, "the reader of the output ended, as in `… | head -1`"

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member
