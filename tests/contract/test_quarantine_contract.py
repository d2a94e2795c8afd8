"""Retries of quarantined messages, on each supported database: none is lost, and none is recorded twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import count as counted

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.core.model import DecodedMessage, Quarantined, RecordKind
from listener.core.ports import Decide
from listener.intake.isolation import ENCODED, REJECTED
from listener.intake.recorder import decode_again
from listener.rules.routing import Correlation, Rule, UnknownJobPolicy, decider
from listener.rules.verification import Verification, VerifyPolicy
from listener.store.quarantined_messages import QuarantinedMessages, Retried
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    NOON,
    a_callback,
    a_decoded_message,
    a_job,
    a_message,
    a_result,
    routes_all,
    wrapped,
)
from tests.support.rejecting import POISON, reject, reject_deletions
from tests.support.stores import OpenStore, count, deliveries, quarantine, results, states, the_row

NEW_MESSAGE = counted()
RULES = [Rule(name="videos", handlers=("log",))]


def keep(store: SqlStore, *bodies: str, reason: str = "this release cannot decode it") -> list[int]:
    """Quarantine messages with these bodies; returns their ids."""
    batch = [
        a_decoded_message(
            message=a_message(message_id=f"message-{next(NEW_MESSAGE):09}", body=body),
            result=None,
            reason=reason,
        )
        for body in bodies
    ]
    store.record(batch, routes_all(), at=NOON)
    wanted = {entry.message.message_id for entry in batch if entry.message}
    page = QuarantinedMessages(store.database).page(limit=1000)
    return sorted(entry.id for entry in page if entry.message.message_id in wanted)


def good(job_id: str) -> str:
    return wrapped(a_callback(JobId=job_id))


def retry(
    store: SqlStore, ids: Sequence[int], decide: Decide | None = None, *, dry_run: bool = False
) -> Retried:
    messages = QuarantinedMessages(store.database)
    return messages.retry(ids, decode_again, decide or routes_all(), at=NOON, dry_run=dry_run)


def recorded_jobs(store: SqlStore) -> list[str]:
    with store.database.read() as connection:
        return sorted(connection.scalars(results.select().with_only_columns(results.c.job_id)))


def test_a_message_that_can_be_decoded_now_is_recorded_like_a_received_one(store: SqlStore) -> None:
    [row] = keep(store, good("job"))

    retried = retry(store, [row])

    assert (retried.ids, retried.refused, retried.summary.kinds) == ([row], {}, {RecordKind.ROUTED: 1})
    recorded = the_row(store, results)
    assert (recorded["job_id"], recorded["queue"], recorded["status"]) == ("job", "mps-callbacks", "routed")
    assert recorded["message_id"].startswith("message-")
    assert (states(store), count(store, quarantine)) == (["pending"], 0)


def test_a_message_that_still_cannot_be_decoded_stays_with_the_reason(store: SqlStore) -> None:
    bad, fine = keep(store, "no callback", good("job"))

    retried = retry(store, [bad, fine, 777])

    assert (retried.ids, list(retried.refused)) == ([fine], [bad])
    assert "neither JSON nor XML nor base64" in retried.refused[bad]
    left = the_row(store, quarantine)
    assert (left["id"], left["body"], left["copies"]) == (bad, "no callback", 1)


def test_a_dry_run_says_the_same_and_changes_nothing(store: SqlStore) -> None:
    ids = keep(store, "no callback", good("job"))

    trial = retry(store, ids, dry_run=True)
    assert (count(store, quarantine), count(store, results), states(store)) == (2, 0, [])
    assert retry(store, ids) == trial


def test_a_copy_of_what_is_recorded_already_is_counted(store: SqlStore) -> None:
    store.record([a_decoded_message(result=a_result(job_id="job"))], routes_all(), at=NOON)
    ids = keep(store, good("job"), wrapped(a_callback(JobId="job", State="Fail")))

    retried = retry(store, ids)

    assert retried.summary.kinds == {RecordKind.DUPLICATE: 1, RecordKind.CONTRADICTION: 1}
    assert (states(store), count(store, quarantine), the_row(store, results)["copies"]) == (["pending"], 0, 3)


@pytest.mark.parametrize(
    ("correlation", "known", "kind"),
    [
        pytest.param(Correlation(wait=timedelta(hours=1)), False, RecordKind.WAITING, id="waits"),
        pytest.param(Correlation(unknown=UnknownJobPolicy.DROP), False, RecordKind.DROPPED, id="dropped"),
        pytest.param(
            Correlation(verification=Verification(policy=VerifyPolicy.KNOWN, tenants=frozenset({""}))),
            True,
            RecordKind.VERIFYING,
            id="verified",
        ),
    ],
)
def test_the_settings_apply_as_to_a_received_message(
    store: SqlStore, correlation: Correlation, known: bool, kind: RecordKind
) -> None:
    if known:
        store.add_job(a_job(job_id="job"))
    ids = keep(store, good("job"))

    retried = retry(store, ids, decider(RULES, correlation, now=NOON, wait_over=False))

    assert (retried.summary.kinds, count(store, quarantine)) == ({kind: 1}, 0)


def test_a_body_that_was_stored_as_base64_is_decoded_as_it_was_received(store: SqlStore) -> None:
    body = ENCODED + wrapped(good("job"))
    ours, not_ours = (keep(store, body, reason=reason)[0] for reason in (f"{REJECTED}text", "no callback"))

    retried = retry(store, [ours, not_ours])

    assert (retried.ids, list(retried.refused), recorded_jobs(store)) == ([ours], [not_ours], ["job"])


def test_what_the_database_rejects_again_stays_and_holds_up_no_other(store: SqlStore) -> None:
    ids = keep(store, good("one"), good(POISON), good("two"))
    reject(store, "results", "job_id")

    retried = retry(store, ids)

    assert (retried.ids, list(retried.refused)) == ([ids[0], ids[2]], [ids[1]])
    assert retried.refused[ids[1]].startswith(REJECTED)
    assert (recorded_jobs(store), the_row(store, quarantine)["id"]) == (["one", "two"], ids[1])


def test_an_error_in_the_middle_changes_nothing(store: SqlStore) -> None:
    """As if the process had crashed between recording the results and emptying the quarantine."""
    ids = keep(store, good("one"), good("two"))
    reject_deletions(store, "quarantine")

    retried = retry(store, ids)

    assert (retried.ids, sorted(retried.refused)) == ([], ids)
    assert (count(store, results), count(store, deliveries), count(store, quarantine)) == (0, 0, 2)


def test_of_two_processes_that_retry_the_same_messages_one_records_each(open_store: OpenStore) -> None:
    stores = [open_store(), open_store()]
    ids = keep(stores[0], *(good(f"job-{number}") for number in range(40)))
    start = threading.Barrier(2)
    done: list[int] = []

    def work(store: SqlStore) -> None:
        start.wait()
        for row in ids:
            done.extend(retry(store, [row]).ids)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == ids
    assert (count(stores[0], results), states(stores[0])) == (40, ["pending"] * 40)
    assert (count(stores[0], quarantine), count(stores[0], results, results.c.copies > 1)) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=8),
    turns=st.lists(st.tuples(st.sets(st.integers(0, 7)), st.booleans()), max_size=6),
)
def test_whatever_is_retried_and_redelivered_each_outcome_is_recorded_once(
    store: SqlStore, jobs: list[int | None], turns: list[tuple[set[int], bool]]
) -> None:
    """Messages of jobs, some of the same one; None is one that stays undecodable. A turn retries some of them, and
    first receives them once more where it says so."""
    prefix = f"run-{next(NEW_MESSAGE)}"
    before = count(store, quarantine)
    bodies = ["no callback" if job is None else good(f"{prefix}-{job}") for job in jobs]
    ids = [keep(store, body)[0] for body in bodies]
    retried: set[int] = set()
    for chosen, redelivered in turns:
        rows = [row for number, row in enumerate(ids) if number in chosen]
        if redelivered:
            store.record([decoded(f"{prefix}-{jobs[ids.index(row)]}") for row in rows], routes_all(), at=NOON)
        retried |= set(retry(store, rows).ids)
    retried |= set(retry(store, ids).ids)

    undecodable = [row for row, job in zip(ids, jobs, strict=True) if job is None]
    assert sorted(retried | set(undecodable)) == ids
    assert not retried & set(undecodable)
    assert count(store, quarantine) == before + len(undecodable)
    wanted = {f"{prefix}-{job}" for job in jobs if job is not None}
    assert [job for job in recorded_jobs(store) if job in wanted] == sorted(wanted)
    assert count(store, results) == count(store, deliveries)


def decoded(job_id: str) -> DecodedMessage:
    return a_decoded_message(result=a_result(job_id=job_id))


def test_a_row_that_cannot_be_read_stays_and_holds_up_no_other(store: SqlStore) -> None:
    ids = keep(store, good("one"), good("two"))

    def decode(entry: Quarantined) -> DecodedMessage:
        if entry.id == ids[0]:
            raise ValueError("damaged")
        return decode_again(entry)

    retried = QuarantinedMessages(store.database).retry(ids, decode, routes_all(), at=NOON)

    assert (retried.ids, recorded_jobs(store)) == ([ids[1]], ["two"])
    assert retried.refused == {ids[0]: "it cannot be read: ValueError: damaged"}


def test_dropped_messages_are_gone(store: SqlStore) -> None:
    ids = keep(store, "one", "two")
    messages = QuarantinedMessages(store.database)

    assert messages.drop([ids[0], 777]) == [ids[0]]
    found = messages.find(ids[1])
    assert (messages.find(ids[0]), found and found.message.body) == (None, "two")
