"""One of four processes that record the same results and run their deliveries, until nothing is left.

``python -m tests.support.hammer URL NUMBER`` prints what it did as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from datetime import timedelta

from listener.core import clock
from listener.core.model import DecodedMessage, Delivery, Done, Outcome, RetryAfter, Settlement
from listener.store.sql_store import SqlStore
from tests.support.builders import a_claim, a_decoded_message, a_job, decoded_messages, routes_all
from tests.support.stores import count, jobs
from tests.support.waiting import wait_until

PROCESSES, BATCH, BATCHES = 4, 16, 20
LEASE = timedelta(minutes=5)


def main(url: str, number: int) -> dict[str, object]:
    store = SqlStore.open(url)
    store.add_job(a_job(token=f"start-{number}", job_id=""))
    wait_until(lambda: count(store, jobs, jobs.c.token.startswith("start-")) == PROCESSES)
    chance = random.Random(number)
    batches = [decoded_messages(BATCH, prefix=f"b{each}") for each in range(BATCHES)]
    chance.shuffle(batches)
    new, ran = 0, list[str]()
    for batch in batches:
        chance.shuffle(batch)
        store.add_job(a_job(token=f"{number}-{len(ran)}-{chance.random()}"[:32], job_id=""))
        claim = a_claim(owner=str(number), until=clock.now() + LEASE, limit=chance.randrange(1, 8))
        summary = store.record([*batch, garbled(batch[0])], routes_all(), at=clock.now(), claim=claim)
        new += summary.new
        ran += run(store, summary.claimed, chance)
        ran += run(store, store.claim(claim, at=clock.now()), chance)
    while store.outstanding():
        claim = a_claim(owner=str(number), until=clock.now() + LEASE)
        ran += run(store, store.claim(claim, at=clock.now()), chance)
    store.close()
    return {"new": new, "ran": ran, "results": BATCH * BATCHES}


def garbled(decoded_message: DecodedMessage) -> DecodedMessage:
    return a_decoded_message(result=None, message=decoded_message.message)


def run(store: SqlStore, claimed: Sequence[Delivery], chance: random.Random) -> list[str]:
    """Settle these: most are done, some are to be retried at once. Returns the keys of those that are done."""
    settlements = [Settlement(delivery=each, outcome=outcome(chance)) for each in claimed]
    late = store.settle(settlements, at=clock.now())
    assert not late, f"somebody else had {late}"
    return [entry.delivery.key for entry in settlements if isinstance(entry.outcome, Done)]


def outcome(chance: random.Random) -> Outcome:
    return Done() if chance.random() < 0.8 else RetryAfter(wait=timedelta(0), reason="retry", spent=False)


if __name__ == "__main__":
    json.dump(main(sys.argv[1], int(sys.argv[2])), sys.stdout)
