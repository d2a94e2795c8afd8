"""The log says what was committed, also when several processes write the same rows at the same time."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from structlog.testing import capture_logs

from listener.intake.recorder import NullDeliverySink, Recorder
from listener.rules.routing import Correlation, Rule
from listener.store.sql_store import SqlStore
from tests.support.builders import a_callback, a_message, wrapped
from tests.support.stores import OpenStore

REPLICAS, JOBS = 3, 20
RULES = (Rule(name="all", handlers=("log",)),)


def test_of_replicas_that_record_the_same_results_one_says_so_and_the_others_count_duplicates(
    open_store: OpenStore,
) -> None:
    stores = [open_store() for _ in range(REPLICAS)]
    together = threading.Barrier(REPLICAS)

    def record(store: SqlStore) -> None:
        recorder = Recorder(store=store, rules=RULES, correlation=Correlation(), sink=NullDeliverySink())
        for number in range(JOBS):
            together.wait(60)
            recorder.record("q", [a_message(body=wrapped(a_callback(JobId=f"job-{number}")))])

    with capture_logs() as logs, ThreadPoolExecutor(REPLICAS) as threads:
        list(threads.map(record, stores))

    seen = Counter((line["event"], line["job_id"]) for line in logs)
    expected = {"result.recorded": 1, "result.routed": 1, "result.duplicate": REPLICAS - 1}
    assert seen == {
        (event, f"job-{number}"): times for number in range(JOBS) for event, times in expected.items()
    }
