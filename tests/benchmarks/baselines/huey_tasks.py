"""The tasks of a huey on SQLite, as its guide has them. Started by huey's own consumer."""

from __future__ import annotations

import os
from typing import Final

from huey import SqliteHuey  # type: ignore[import-untyped]  # it has no types

from tests.benchmarks.baselines.work import on_message

QUEUE_VARIABLE: Final = "BENCH_HUEY"
huey = SqliteHuey("callbacks", filename=os.environ[QUEUE_VARIABLE])


@huey.task()  # type: ignore[untyped-decorator]
def on_callback(body: str) -> None:
    on_message(body)
