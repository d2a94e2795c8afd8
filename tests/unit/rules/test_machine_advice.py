"""Whether the clock, the disk and the permissions of the store are in order."""

from __future__ import annotations

from datetime import timedelta

from listener.core.check_result import Level
from listener.core.exit_codes import ExitCode
from listener.rules.machine_advice import MIN_FREE_BYTES, judge_clock, judge_disk, judge_modes
from tests.support.cases import each_case


@each_case(
    ("offsets", "level"),
    [
        ([59], Level.OK),
        ([60], Level.WARNING),
        ([-60], Level.WARNING),
        ([899], Level.WARNING),
        ([900], Level.FAILED),
        ([1, -3600, 2], Level.FAILED),
    ],
)
def test_the_clock_that_is_off_most_decides(offsets: list[int], level: Level) -> None:
    result = judge_clock([timedelta(seconds=each) for each in offsets])

    assert result.level == level
    assert (result.exit_code == ExitCode.UNAVAILABLE) == (level == Level.FAILED)
    assert bool(result.advice) == (level != Level.OK)


def test_a_disk_that_is_nearly_full_is_a_warning() -> None:
    assert judge_disk("/var", free_bytes=MIN_FREE_BYTES).level == Level.OK
    full = judge_disk("/var", free_bytes=MIN_FREE_BYTES - 1)

    assert (full.level, "255 MiB are free in /var" in full.detail) == (Level.WARNING, True)
    assert full.advice


def test_only_files_that_others_can_use_are_named() -> None:
    assert judge_modes({"l.db": 0o100600, "l.db-wal": 0o100400}).level == Level.OK
    result = judge_modes({"l.db": 0o100600, "l.db-wal": 0o100640, "l.db-shm": 0o100666})

    assert result.level == Level.WARNING
    assert result.advice == "chmod 600 l.db-wal l.db-shm"
