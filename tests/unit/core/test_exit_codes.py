"""Exit codes are part of the interface."""

from __future__ import annotations

from listener.core.exit_codes import ExitCode


def test_exit_codes_stay_the_same() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "DRAIN_INCOMPLETE": 3,
        "NOT_FOUND": 66,
        "UNAVAILABLE": 69,
        "INTERNAL": 70,
        "EXISTS": 73,
        "HUNG": 75,
        "CONFIG": 78,
        "TIMED_OUT": 124,
        "INTERRUPTED": 130,
        "READER_ENDED": 141,
    }
