"""A crash at every critical point: afterwards every result still has exactly one outcome."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.soak.ledger import Accounting, account_for
from tests.soak.listener_with import POINTS
from tests.soak.plan import Plan, Way, duplicated, garbled, items, plain, slow, unknown
from tests.soak.run import crash
from tests.support.cases import each_case
from tests.support.forked import forking_context

pytestmark = pytest.mark.process

#: The store does not know of any job beforehand, so that the listener itself creates the store.
FIRST_START = ("migration", "after-migration", "in-decide-waiting")
NEW: Mapping[Way, float] = {unknown: 1}
MIXED: Mapping[Way, float] = {plain: 6, duplicated: 2, garbled: 1, slow: 1}
#: Here the handler has returned, but its outcome has not been recorded.
RETURNED_UNRECORDED = ("before-settle", "in-settle")


def crash_at(point: str, folder: Path) -> Accounting:
    """Crash one listener at a point, let another one finish, and account for every result."""
    ways: dict[Way, float] = (
        {unknown: 1.0} if point in FIRST_START else {plain: 6.0, duplicated: 2.0, garbled: 1.0, slow: 1.0}
    )
    plan = Plan(seed=5, items=items(Random(point), messages=40, ways=ways))
    result = crash(plan, folder, entry=("tests.soak.listener_with", "--crash-at", point))
    return account_for(plan, result.evidence)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[Accounting]]:
    """All points at once, since each of them mostly waits for a lease to end."""
    folder = tmp_path_factory.mktemp("crashes")
    with ProcessPoolExecutor(2 * (os.cpu_count() or 1), mp_context=forking_context()) as pool:
        return {point: pool.submit(crash_at, point, folder / point) for point in POINTS}


@each_case("point", POINTS)
def test_a_crash_leaves_every_result_with_its_one_outcome(
    accounts: Mapping[str, Future[Accounting]], point: str
) -> None:
    assert accounts[point].result().complaints == []


@each_case("point", POINTS)
def test_only_the_crash_makes_handlers_repeat(accounts: Mapping[str, Future[Accounting]], point: str) -> None:
    assert set(accounts[point].result().repeats) <= {"kill"}


@pytest.mark.parametrize("point", RETURNED_UNRECORDED)
def test_what_returned_but_was_not_written_down_is_repeated(
    accounts: Mapping[str, Future[Accounting]], point: str
) -> None:
    assert accounts[point].result().repeats["kill"] > 0


def test_a_handler_that_was_killed_is_called_again(accounts: Mapping[str, Future[Accounting]]) -> None:
    assert accounts["in-handler"].result().resumed["kill"] > 0
