"""Actions on single parked results, on each supported database."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from listener.core.model import ResultStatus, RoutingDecision, Target
from listener.rules.routing import Correlation, Match, Rule, decider
from listener.store.filters import Filters
from listener.store.parked import ParkedResults
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore
from listener.store.tables import results
from tests.support.builders import NOON, decoded_messages, routes_all
from tests.support.stores import states

LATER = NOON + timedelta(minutes=1)
PARK = RoutingDecision(status=ResultStatus.PARKED)


def park(store: SqlStore, number: int) -> list[int]:
    """The ids of so many parked results, oldest first."""
    store.record(decoded_messages(number), lambda *_: PARK, at=NOON)
    return sorted(stored.id for stored in ParkedResults(store.database).page())


def statuses(store: SqlStore) -> dict[str, int]:
    return Queries(store.database).counts()["results"]


def test_only_the_named_results_are_routed(store: SqlStore) -> None:
    first, second, third = park(store, 3)
    parked = ParkedResults(store.database)
    changed = parked.reroute([third, first, 999], routes_all(Target("all", "log")), at=LATER)

    assert changed.ids == [first, third]
    assert changed.targets == {first: (Target("all", "log"),), third: (Target("all", "log"),)}
    assert [stored.id for stored in parked.page()] == [second]
    assert (parked.find(first), parked.find(second) is not None) == (None, True)
    assert states(store) == ["pending", "pending"]


def test_a_dry_run_says_the_same_and_changes_nothing(store: SqlStore) -> None:
    ids = park(store, 2)
    parked, decide = ParkedResults(store.database), routes_all(Target("all", "log"))

    assert parked.reroute(ids, decide, at=LATER, dry_run=True).targets.keys() == set(ids)
    assert statuses(store) == {"parked": 2}
    assert states(store) == []


def test_what_no_route_matches_is_refused_with_the_reason(store: SqlStore) -> None:
    ids = park(store, 1)
    decide = decider(
        (Rule(name="covers", match=Match(function="Cover"), handlers=("log",)),),
        Correlation(),
        now=LATER,
        wait_over=True,
    )
    changed = ParkedResults(store.database).reroute(ids, decide, at=LATER)

    assert (changed.ids, list(changed.refused)) == ([], ids)
    assert changed.refused[ids[0]]
    assert statuses(store) == {"parked": 1}


def test_one_that_cannot_be_read_does_not_stop_the_others(store: SqlStore) -> None:
    first, second = park(store, 2)
    with store.database.write() as connection:
        connection.execute(update(results).where(results.c.id == first).values(details="{"))
    changed = ParkedResults(store.database).reroute([first, second], routes_all(), at=LATER)

    assert (changed.ids, list(changed.refused)) == ([second], [first])
    assert "cannot be read" in changed.refused[first]


def test_a_dropped_result_is_not_parked_any_more(store: SqlStore) -> None:
    first, second = park(store, 2)
    parked = ParkedResults(store.database)

    assert parked.drop([first, 999], at=LATER) == [first]
    assert parked.drop([first], at=LATER) == []
    assert parked.reroute([first], routes_all(), at=LATER).ids == []
    assert statuses(store) == {"dropped": 1, "parked": 1}
    assert [stored.id for stored in parked.page(filters=Filters(queue="none"))] == []
    assert second in [stored.id for stored in parked.page(filters=Filters(since=NOON))]
