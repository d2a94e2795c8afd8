"""Hands the callbacks of a series to a task queue: ``python -m tests.benchmarks.baselines.enqueue huey|dramatiq …``."""

from __future__ import annotations

import sys

from tests.benchmarks.callbacks import body


def to_huey(series: str, count: int) -> None:
    from tests.benchmarks.baselines.huey_tasks import on_callback

    for number in range(count):
        on_callback(body(series, number))


def to_dramatiq(series: str, count: int) -> None:
    from tests.benchmarks.baselines.dramatiq_actors import on_callback

    for number in range(count):
        on_callback.send(body(series, number))


if __name__ == "__main__":
    {"huey": to_huey, "dramatiq": to_dramatiq}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
