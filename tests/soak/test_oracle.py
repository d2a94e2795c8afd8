"""The promise, under random faults and random kills; and that the oracle notices when it is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.soak import plan as ways
from tests.soak.campaign import Report, run_all, summary_line
from tests.soak.evidence import Call, Ending, Evidence, Rows, calls_in
from tests.soak.ledger import account_for
from tests.soak.plan import API_FAULTS, LEASE, Plan, items, one_of_each
from tests.soak.run import crash, run_plan, started
from tests.support.cases import each_case
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

SEEDS = range(4)
MESSAGES = 60
#: The evidence of this one is doctored below; it has no blows, so that nothing in it is excused.
CALM = Plan(seed=7, items=one_of_each(Random("calm")), faults=API_FAULTS, processes=2)
CONCURRENCY = 3 * (os.cpu_count() or 1)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Report]:
    keep = tmp_path_factory.mktemp("soak")
    return list(run_all(SEEDS, messages=MESSAGES, keep=keep, processes=CONCURRENCY))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Judged as on an idle machine, which excuses the least."""
    return replace(run_plan(CALM, tmp_path_factory.mktemp("calm") / "run").evidence, slowness=1.0)


@pytest.mark.long
def test_every_callback_of_every_seed_is_accounted_for(reports: Sequence[Report]) -> None:
    assert [summary_line(report, MESSAGES) for report in reports if not report.clean] == []
    assert sum(sum(report.accounting.outcomes.values()) for report in reports) == len(SEEDS) * MESSAGES


def test_kills_and_faults_really_happened(reports: Sequence[Report]) -> None:
    happened = {kind for report in reports for kind, times in report.happened.items() if times}
    assert {"kill", "stop", "duplicate", "garble", "drop", "early"} <= happened  # each run has them
    assert len(happened) > 12  # with those that depend on the number of requests


def test_a_run_without_faults_has_no_repeats(calm: Evidence) -> None:
    found = account_for(CALM, calm)
    assert (found.complaints, dict(found.repeats), dict(found.resumed)) == ([], {}, {})


def test_a_line_cut_off_by_a_kill_does_not_count(calm: Evidence, tmp_path: Path) -> None:
    call = asdict(_only_call(list(calm.calls))) | {"what": "begin", "at": 1.0}
    (tmp_path / "1.jsonl").write_text(f"{json.dumps(call)}\n{json.dumps(call)[:50]}")

    assert len(calls_in(tmp_path)) == 1


def _calls(change: Callable[[list[Call]], list[Call]]) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, calls=change(list(evidence.calls)))


def _rows(**tables: Callable[[list[Any]], list[Any]]) -> Callable[[Evidence], Evidence]:
    def change(evidence: Evidence) -> Evidence:
        changed = {name: edit(list(getattr(evidence.rows, name))) for name, edit in tables.items()}
        rows: Rows = replace(evidence.rows, **changed)
        return replace(evidence, rows=rows)

    return change


def _only_call(calls: Sequence[Call]) -> Call:
    """One of a job that was handled by one handler in one call."""
    single = {item.n for item in CALM.items if item.way == "very-slow"}
    return next(call for call in calls if call.n in single)


def _repeated(calls: list[Call]) -> list[Call]:
    call = _only_call(calls)
    assert call.ended is not None
    later = replace(call, attempt=call.attempt + 1, begun=call.ended + 5, ended=call.ended + 6)
    return [*calls, later]


def _unfinished(calls: list[Call]) -> list[Call]:
    call = _only_call(calls)
    return [*(each for each in calls if each != call), replace(call, ended=None, how="")]


def _meanwhile(calls: list[Call]) -> list[Call]:
    call = _only_call(calls)
    assert call.ended is not None
    begun = (call.begun + call.ended) / 2
    return [*calls, replace(call, attempt=call.attempt + 1, begun=begun, pid=call.pid + 1)]


def _to_another_route(calls: list[Call]) -> list[Call]:
    call = _only_call(calls)
    return [*(each for each in calls if each != call), replace(call, route="doomed")]


def _without(condition: Callable[[Any], bool]) -> Callable[[list[Any]], list[Any]]:
    """All but the first that the condition holds for."""

    def change(rows: list[Any]) -> list[Any]:
        gone = next(row for row in rows if condition(row))
        return [row for row in rows if row is not gone]

    return change


def _doubling(condition: Callable[[Any], bool]) -> Callable[[list[Any]], list[Any]]:
    def change(rows: list[Any]) -> list[Any]:
        return [*rows, next(row for row in rows if condition(row))]

    return change


def _is(column: str, value: str) -> Callable[[Any], bool]:
    return lambda row: bool(row[column] == value)


@each_case(
    ("doctor", "kind"),
    [
        pytest.param(
            _calls(lambda calls: [call for call in calls if call != _only_call(calls)]), "lost", id="no-call"
        ),
        pytest.param(_calls(_unfinished), "lost", id="call-never-ended"),
        pytest.param(_calls(_repeated), "doubled", id="repeated-without-a-kill"),
        pytest.param(_calls(lambda calls: [*calls, _only_call(calls)]), "unexplained", id="line-twice"),
        pytest.param(_calls(_meanwhile), "overlapping", id="called-meanwhile"),
        pytest.param(_calls(_to_another_route), "misdelivered", id="wrong-route"),
        pytest.param(
            _calls(lambda calls: [*calls, replace(_only_call(calls), n=999, key="k")]),
            "unexplained",
            id="not-planned",
        ),
        pytest.param(_rows(results=_without(_is("status", "routed"))), "lost", id="no-result"),
        pytest.param(_rows(results=_without(_is("status", "parked"))), "lost", id="not-parked"),
        pytest.param(_rows(results=_doubling(_is("status", "routed"))), "doubled", id="two-results"),
        pytest.param(_rows(deliveries=_without(_is("state", "dead"))), "lost", id="no-dead-letter"),
        pytest.param(_rows(deliveries=_doubling(_is("state", "done"))), "doubled", id="two-deliveries"),
        pytest.param(_rows(quarantine=_without(lambda _: True)), "lost", id="not-in-quarantine"),
        pytest.param(_rows(quarantine=_doubling(lambda _: True)), "doubled", id="twice-in-quarantine"),
        pytest.param(
            lambda evidence: replace(evidence, effects=evidence.effects + 1), "unexplained", id="two-effects"
        ),
        pytest.param(
            lambda evidence: replace(evidence, left_in_queues=1), "lost", id="messages-left-in-a-queue"
        ),
    ],
)
def test_doctored_evidence_is_noticed(
    calm: Evidence, doctor: Callable[[Evidence], Evidence], kind: str
) -> None:
    assert account_for(CALM, doctor(calm)).count(kind) > 0


@pytest.mark.parametrize(("seconds", "doubled"), [(LEASE + 1, 0), (LEASE - 1, 1)])
def test_a_repeat_is_excused_where_a_frozen_neighbour_may_have_held_the_store(
    calm: Evidence, seconds: float, doubled: int
) -> None:
    call = _only_call(list(calm.calls))
    assert call.ended is not None
    frozen = Ending(pid=call.pid + 1, kind="freeze", since=call.ended - 0.5, until=call.ended - 0.5 + seconds)

    found = account_for(
        CALM, replace(calm, calls=_repeated(list(calm.calls)), endings=[*calm.endings, frozen])
    )

    assert (found.count("doubled"), sum(found.repeats.values())) == (doubled, 1 - doubled)


def without(protection: str, *, ways: dict[Any, float], crash_at: str = "") -> tuple[Plan, list[str]]:
    """A plan of these ways only, and how to start a listener that lacks a protection."""
    plan = Plan(seed=3, items=items(Random(protection), messages=30, ways=ways))
    options = ["--without", protection, *(["--crash-at", crash_at] if crash_at else [])]
    return plan, ["tests.soak.listener_with", *options]


def test_results_that_are_not_unique_are_noticed(tmp_path: Path) -> None:
    plan, entry = without("dedup_key", ways={ways.duplicated: 1})
    found = account_for(plan, run_plan(plan, tmp_path / "run", entry=entry).evidence)
    assert found.count("doubled") >= 30


def test_deleting_before_recording_is_noticed(tmp_path: Path) -> None:
    plan, entry = without("persist-first", ways={ways.plain: 1}, crash_at="after-delete")
    found = account_for(plan, crash(plan, tmp_path / "run", entry=entry).evidence)
    assert found.count("lost") > 0


def test_a_batch_committed_in_pieces_is_noticed(tmp_path: Path) -> None:
    plan, entry = without("transaction", ways={ways.plain: 1})
    found = account_for(plan, crash(plan, tmp_path / "run", entry=entry).evidence)
    assert found.count("lost") > 0


def far_too_slow(draw: ways.Draw) -> ways.Item:
    """Its lease has expired, and another attempt has begun, long before it returns."""
    return draw.handled("far-too-slow", "single", do="slow", seconds=4 * LEASE)


def test_leases_that_are_not_renewed_are_noticed(tmp_path: Path) -> None:
    plan, entry = without("renewal", ways={far_too_slow: 1})
    # One process waits for the earlier call of a delivery; another one can't know of it.
    plan = replace(plan, items=plan.items[:4], processes=2)
    with started(plan, tmp_path / "run", entry=entry) as run:
        run.execute()
        wait_until(lambda: any(call.attempt > 1 for call in run.evidence().calls))
        evidence = run.evidence()
    assert account_for(plan, evidence).count("overlapping") > 0
