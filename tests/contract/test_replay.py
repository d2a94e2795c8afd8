"""Replays of dead letters after the routes were changed, on each supported database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from listener.core.model import (
    LOST,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Replayed,
    ResultStatus,
    Settlement,
    Source,
)
from listener.core.ports import Decide
from listener.rules.routing import Correlation, Match, Rule, decider
from listener.store.dead_letters import DeadLetters
from listener.store.deliveries import Deliveries
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_claim, a_decoded_message, a_job, a_message, a_result
from tests.support.stores import results, states, the_row

LATER = NOON + timedelta(minutes=1)
EVERY_STATE = tuple(DeliveryState)
NEW_JOB = count()


def routes(*rules: Rule) -> Decide:
    return decider(rules, Correlation(), now=NOON, wait_over=True)


def route(name: str, *handlers: str, function: str = "VideoH2V") -> Decide:
    """One route of this name, for results of this function."""
    return routes(Rule(name=name, match=Match(function=function), handlers=handlers))


def record(store: SqlStore, decide: Decide, *, job_id: str = "job") -> None:
    """A result, with deliveries as the routes say."""
    message = a_message(message_id=job_id)
    store.record([a_decoded_message(message=message, result=a_result(job_id=job_id))], decide, at=NOON)


def settle(store: SqlStore, *, done: Sequence[str] = ()) -> None:
    """Run everything that is pending: these handlers return, all others fail permanently."""
    claimed = store.claim(a_claim(), at=LATER)
    settlements = [
        Settlement(delivery=each, outcome=Done() if each.target.handler in done else Dead(reason="no use"))
        for each in claimed
    ]
    store.settle(settlements, at=LATER)


def all_of(store: SqlStore, job_id: str = "job") -> list[Delivery]:
    """The deliveries of a job, in the order in which they were written."""
    page = Deliveries(store.database).page(states=EVERY_STATE, limit=1000)
    return sorted((each for each in page if each.result.job_id == job_id), key=lambda each: each.id)


def replay_all(store: SqlStore, decide: Decide, *, dry_run: bool = False) -> Replayed:
    letters = DeadLetters(store.database)
    ids = [letter.id for letter in letters.page(limit=1000)]
    return letters.replay(ids, decide, at=LATER, dry_run=dry_run)


def places(store: SqlStore) -> list[tuple[str, str, str, str]]:
    """Route, handler, state and key of each delivery of the job."""
    return [(each.target.route, each.target.handler, each.state, each.key) for each in all_of(store)]


def test_a_replay_goes_to_the_route_that_has_another_name_now(store: SqlStore) -> None:
    """Under the same key, and not to the handler that has returned already."""
    record(store, route("old", "log", "jsonl"))
    settle(store, done=["log"])

    replayed = replay_all(store, route("new", "log", "jsonl"))

    assert (len(replayed.ids), replayed.refused) == (1, {})
    assert places(store) == [
        ("old", "log", "done", "job:Success:old:log"),
        ("new", "jsonl", "pending", "job:Success:old:jsonl"),
    ]
    (delivery,) = store.claim(a_claim(), at=LATER)
    assert (delivery.attempt, delivery.failures) == (2, 0)


def test_a_replay_keeps_the_time_of_creation_and_gives_all_the_time_for_attempts(store: SqlStore) -> None:
    record(store, route("all", "log"))
    settle(store)

    replay_all(store, route("all", "log"))

    (delivery,) = store.claim(a_claim(), at=LATER)
    assert (delivery.created_at, delivery.replayed_at, delivery.attempts_since) == (NOON, LATER, LATER)


def test_a_replay_goes_to_the_handler_that_has_another_name_now(store: SqlStore) -> None:
    record(store, route("all", "log", "jsonl"))
    settle(store, done=["log"])

    replay_all(store, route("all", "log", "file"))

    assert places(store) == [
        ("all", "log", "done", "job:Success:all:log"),
        ("all", "file", "pending", "job:Success:all:jsonl"),
    ]


def test_all_handlers_that_have_not_got_the_result_take_the_place_of_one_that_is_gone(
    store: SqlStore,
) -> None:
    record(store, route("all", "old"))
    settle(store)

    assert len(replay_all(store, route("all", "one", "two")).ids) == 1

    assert places(store) == [
        ("all", "one", "pending", "job:Success:all:old"),
        ("all", "two", "pending", "job:Success:all:two"),
    ]


def test_several_that_are_replayed_at_once_share_the_handlers_in_their_order(store: SqlStore) -> None:
    record(store, route("all", "first", "second", "third"))
    settle(store)

    replayed = replay_all(store, route("all", "one", "two"))

    assert (len(replayed.ids), len(replayed.refused)) == (2, 1)
    assert places(store) == [
        ("all", "one", "pending", "job:Success:all:first"),
        ("all", "two", "pending", "job:Success:all:second"),
        ("all", "third", "dead", "job:Success:all:third"),
    ]


def test_a_handler_that_was_added_to_the_route_does_not_get_what_another_one_replays(
    store: SqlStore,
) -> None:
    record(store, route("all", "log"))
    settle(store)

    replay_all(store, route("all", "added", "log"))

    assert places(store) == [("all", "log", "pending", "job:Success:all:log")]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        pytest.param(route("other", "log", function="Cover"), "no route matches its result", id="no-route"),
        pytest.param(
            route("new", "log"),
            "the route 'new' has given its result to all of its handlers already",
            id="no-handler",
        ),
    ],
)
def test_a_replay_that_leads_nowhere_is_refused(store: SqlStore, now: Decide, reason: str) -> None:
    record(store, route("old", "log", "gone"))
    settle(store, done=["log"])
    before = places(store)
    (_, letter) = all_of(store)

    assert replay_all(store, now) == Replayed(ids=[], refused={letter.id: reason})
    assert places(store) == before


def test_a_refusal_does_not_stop_other_replays(store: SqlStore) -> None:
    record(store, route("old", "log"), job_id="other")
    result = a_result(job_id="job", function="Cover")
    store.record([a_decoded_message(result=result)], route("old", "log", function="Cover"), at=NOON)
    settle(store)

    replayed = replay_all(store, route("old", "log", function="Cover"))

    assert (len(replayed.ids), list(replayed.refused.values())) == (1, ["no route matches its result"])
    assert sorted(states(store)) == ["dead", "pending"]


@pytest.mark.parametrize("unknown_job", [True, False])
def test_a_dead_letter_without_a_route_is_replayed_once_there_is_one(
    store: SqlStore, unknown_job: bool
) -> None:
    """That of an unknown job, and that of a lost one."""
    if unknown_job:
        refuse = decider((), Correlation("dead-letter"), now=NOON, wait_over=True)
        record(store, refuse)
    else:
        store.add_job(a_job(job_id="job"))
        lost = a_result(job_id="job", state=LOST, source=Source.LISTENER)
        store.record([a_decoded_message(message=None, queue="", result=lost)], routes(), at=NOON)
    (letter,) = all_of(store)
    assert letter.target.handler == ""

    assert replay_all(store, routes()).refused == {letter.id: "no route matches its result"}
    assert (states(store), the_row(store, results)["status"]) == (["dead"], ResultStatus.REFUSED)
    assert replay_all(
        store, routes(Rule(name="all", match=Match(state=letter.result.state), handlers=("log",)))
    ).ids
    assert [each[:3] for each in places(store)] == [("", "", "dropped"), ("all", "log", "pending")]


def test_a_dry_run_returns_the_same_and_changes_nothing(store: SqlStore) -> None:
    record(store, route("old", "log"))
    settle(store)
    before = places(store)
    rules = (route("new", "log"), route("new", "log", function="Cover"))

    trials = [replay_all(store, each, dry_run=True) for each in rules]
    assert places(store) == before
    assert trials[1] == replay_all(store, rules[1])
    assert trials[0] == replay_all(store, rules[0])


def test_no_new_delivery_gets_a_key_that_another_one_has_kept(store: SqlStore) -> None:
    record(store, route("one", "a", "b"))
    settle(store)
    replay_all(store, route("two", "a", "c"))
    settle(store, done=["c"])

    replay_all(store, route("one", "d", "b"))

    assert places(store) == [
        ("one", "d", "pending", "job:Success:one:a"),
        ("two", "c", "done", "job:Success:one:b"),
    ]


NAMES = st.sampled_from(["a", "b", "c", "d"])
ROUTES = st.tuples(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True))


@example(first=("a", ["d", "a"]), changes=[(set(), ("a", ["a"])), (set(), ("a", ["b", "c"]))])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(first=ROUTES, changes=st.lists(st.tuples(st.sets(NAMES), ROUTES), min_size=1, max_size=4))
def test_whatever_the_routes_were_each_handler_gets_a_result_once_and_every_key_stays(
    store: SqlStore,
    first: tuple[str, list[str]],
    changes: Sequence[tuple[set[str], tuple[str, list[str]]]],
) -> None:
    job_id = f"job-{next(NEW_JOB)}"
    record(store, route(first[0], *first[1]), job_id=job_id)
    keys: dict[int, str] = {}

    for done, (name, handlers) in changes:
        settle(store, done=sorted(done))
        replay_all(store, route(name, *handlers))
        found = all_of(store, job_id)
        for each in found:
            assert keys.setdefault(each.id, each.key) == each.key
        assert len(set(keys.values())) == len(keys) == len(found)
        assert len({each.target.handler for each in found}) == len(found)
    DeadLetters(store.database).drop([each.id for each in all_of(store, job_id)], at=LATER)
    settle(store, done=["a", "b", "c"])
