"""Histograms show what those of prometheus_client show."""

from __future__ import annotations

import prometheus_client
from prometheus_client import CollectorRegistry

from listener.runtime.histograms import Histogram

BUCKETS = (0.5, 1, 10)
VALUES = (0.0, 0.5, 0.50001, 1, 9, 10, 11, 1e9)


def shown(registry: CollectorRegistry) -> list[str]:
    text = prometheus_client.generate_latest(registry).decode()
    return [line for line in text.splitlines() if "_created" not in line]


def test_what_is_shown_is_what_the_package_shows() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histogram("took_seconds", "How long it took", ["queue", "kind"], buckets=BUCKETS, registry=ours)
    other = prometheus_client.Histogram(
        "took_seconds", "How long it took", ["queue", "kind"], buckets=BUCKETS, registry=theirs
    )
    mine.observe(VALUES, "q", "one")
    mine.observe(VALUES[2:4], "q", "one")
    mine.expect("q", "two")
    mine.expect("q", "one")
    for value in (*VALUES, *VALUES[2:4]):
        other.labels("q", "one").observe(value)
    other.labels("q", "two")

    assert len(shown(ours)) == 14
    assert shown(ours) == shown(theirs)
