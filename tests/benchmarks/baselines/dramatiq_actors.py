"""The actors of a Dramatiq on Redis, as its guide has them. Started by Dramatiq's own command."""

from __future__ import annotations

import os
from typing import Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks.baselines.work import on_message

BROKER_VARIABLE: Final = "BENCH_REDIS"
broker = RedisBroker(url=os.environ[BROKER_VARIABLE])  # type: ignore[no-untyped-call]  # it has no types
dramatiq.set_broker(broker)


@dramatiq.actor
def on_callback(body: str) -> None:
    on_message(body)
