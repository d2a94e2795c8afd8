"""Every shape of a callback or event, in every wrapping, reaches the right route through the running daemon."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.builders import WRAPPINGS, a_job, wrapped
from tests.support.callback_samples import QUARANTINE, ROUTES, SHAPES
from tests.support.program import Place

pytestmark = pytest.mark.process

#: A callback of a job that is registered need not say what it is about.
KNOWN, WITHOUT_TYPE = "known-job", '{"JobId":"known-job","State":"Success"}'


def ledger(place: Place) -> Counter[tuple[str, str]]:
    """How often each route got a result about what."""
    return Counter(
        (line["route"], line["job_id"] or line["run_id"] or line["media_id"])
        for line in place.lines("results.jsonl")
    )


def test_every_shape_in_every_wrapping_reaches_its_route(place: Place) -> None:
    place.settings(ROUTES)
    with place.store() as store:
        store.add_job(a_job(job_id=KNOWN, input="", output=""))
    sent = [(shape, how) for shape in SHAPES for how in WRAPPINGS]
    wanted = Counter(
        (shape.route, f"{shape.name}--{how}") for shape, how in sent if shape.route != QUARANTINE
    ) + Counter({("produced", KNOWN): 1})
    refused = [how for shape, how in sent if shape.route == QUARANTINE]

    place.send_raw(WITHOUT_TYPE, *(wrapped(shape.of(f"{shape.name}--{how}"), how) for shape, how in sent))
    daemon = place.run("--drain", correlation__verify="never")

    assert daemon.wait() == 0
    assert ledger(place) == wanted
    counts = place.queries(lambda queries: queries.counts())
    assert counts["results"] == {"routed": wanted.total()}
    assert counts["quarantine"] == {"messages": len(refused)}
    assert refused


def test_a_second_copy_of_every_shape_changes_nothing(place: Place) -> None:
    place.settings(ROUTES)
    bodies = [wrapped(shape.of(shape.name), how) for shape in SHAPES for how in ("raw", "topic-xml")]

    place.send_raw(*bodies)

    assert place.run("--drain").wait() == 0
    assert set(ledger(place).values()) == {1}
    assert sum(ledger(place).values()) == sum(shape.route != QUARANTINE for shape in SHAPES)
