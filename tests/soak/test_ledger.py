"""What explains a repeat and what never may happen, kind by kind, on evidence that is made up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from listener.dispatch.dispatcher import EXPIRED
from listener.emulator.faults import FaultKind
from tests.soak.campaign import ENOUGH_FOR_ALL_KINDS, RECEIVER, Report, never_happened
from tests.soak.evidence import ANY_PROCESS, STORE, Call, Ending, Evidence, Rows, given_back_in
from tests.soak.ledger import COMMIT, HUNG_UP, NOTICED, Accounting, account_for
from tests.soak.plan import (
    CORRELATION_WAIT,
    LEASE,
    POISONS,
    SMALL,
    STORE_OUTAGE,
    WEBHOOK_TIMEOUT,
    Blow,
    ExpectedOutcome,
    Item,
    Plan,
    blows_of,
    drawn,
)
from tests.support.cases import each_case

PID, OTHER = 100, 200
KEY = "j:Success:single:record"
RETURNED = Call(
    n=0,
    key=KEY,
    attempt=1,
    pid=PID,
    job="j",
    state="Success",
    route="single",
    handler="record",
    begun=10.0,
    ended=11.0,
    how="returned",
)
AGAIN = replace(RETURNED, attempt=2, begun=30.0, ended=31.0)
ITEM = Item(
    n=0,
    way="plain",
    expected=ExpectedOutcome.HANDLED,
    job_id="j",
    route="single",
    targets=("record",),
    user_data="{}",
)
PLAN = Plan(seed=0, items=(ITEM,))
NOTED = replace(
    ITEM, way="poisoned", expected=ExpectedOutcome.NOTED, job_id="", run_id="r", known_at=None, targets=()
)
STORE_KINDS = ("outage", "server-freeze", "server-kill", "file-away")


def a_result(**columns: Any) -> dict[str, Any]:
    defaults = {
        "id": 1,
        "job_id": "j",
        "run_id": "",
        "state": "Success",
        "status": "routed",
        "received_at": 0,
    }
    return defaults | columns


def evidence(*calls: Call, endings: tuple[Ending, ...] = (), **result: Any) -> Evidence:
    """Of one job that was handled by one handler."""
    found = a_result(**result)
    job = {"job_id": "j", "reference": "", "state": found["state"], "submitted_at": 0}
    delivery = {"id": 1, "result": 1, "route": "single", "handler": "record", "state": "done"}
    rows = Rows(jobs=[job], results=[found], deliveries=[delivery], quarantine=[])
    return Evidence(calls=calls, endings=endings, rows=rows, effects=0, left_in_queues=0)


def done_to(pid: int, kind: str, since: float, until: float) -> Ending:
    return Ending(pid=pid, kind=kind, since=since, until=until)


def kinds_of(found: Accounting) -> list[str]:
    return sorted({complaint.kind for complaint in found.complaints})


def accounted(*endings: Ending, again: Call = AGAIN) -> Accounting:
    """Of a call that returned and was repeated, between which this was done."""
    return account_for(PLAN, evidence(RETURNED, again, endings=endings))


def test_evidence_without_a_fault_has_no_complaints() -> None:
    found = account_for(PLAN, evidence(RETURNED))

    assert (found.complaints, found.repeats) == ([], {})


@each_case("state", ["Lost", "Fail"])
def test_another_outcome_than_the_job_had_is_noticed(state: str) -> None:
    assert "misdelivered" in kinds_of(account_for(PLAN, evidence(RETURNED, state=state)))


@each_case("state", ["Lost", "Fail"])
def test_a_clock_that_jumps_excuses_no_other_outcome(state: str) -> None:
    plan = replace(PLAN, blows=(Blow(at=1, kind="clock", days=4),))

    assert "misdelivered" in kinds_of(account_for(plan, evidence(RETURNED, state=state)))


def test_a_clock_that_jumps_excuses_no_repeat() -> None:
    plan = replace(PLAN, blows=(Blow(at=1, kind="clock", days=4),))

    assert kinds_of(account_for(plan, evidence(RETURNED, AGAIN))) == ["doubled"]


EARLY = replace(PLAN, items=(replace(ITEM, known_at=1.0),), unknown="drop")
JUMP = (Blow(at=1, kind="clock", days=4),)


@each_case(
    ("blows", "registered", "complaints"),
    [
        pytest.param((), CORRELATION_WAIT - 0.1, ["lost", "misdelivered"], id="registered-in-time"),
        pytest.param((), CORRELATION_WAIT + 0.1, [], id="committed-too-late"),
        pytest.param(JUMP, 0.5, [], id="a-clock-jumped"),
    ],
)
def test_an_early_callback_may_be_dropped_only_if_the_wait_can_have_been_over(
    blows: tuple[Blow, ...], registered: float, complaints: list[str]
) -> None:
    dropped = replace(evidence(status="dropped"), registered={0: round(registered * 1_000_000)})
    dropped = replace(dropped, rows=replace(dropped.rows, deliveries=[]))

    assert kinds_of(account_for(replace(EARLY, blows=blows), dropped)) == complaints


def test_an_early_callback_whose_job_came_late_may_still_be_handled() -> None:
    late = round((CORRELATION_WAIT + 0.1) * 1_000_000)

    assert account_for(EARLY, replace(evidence(RETURNED), registered={0: late})).complaints == []


def test_a_storm_of_hang_ups_excuses_no_repeat() -> None:
    assert kinds_of(accounted(done_to(PID, "hup", 10.5, 12.0))) == ["doubled"]


def test_a_hang_up_explains_an_attempt_without_a_call() -> None:
    raised = replace(RETURNED, how="raised")
    third = replace(AGAIN, attempt=3)

    def complaints(*endings: Ending) -> list[str]:
        return kinds_of(account_for(PLAN, evidence(raised, third, endings=endings)))

    assert complaints() == ["unexplained"]
    assert complaints(done_to(PID, "hup", 12.0, 13.0)) == []


def test_an_attempt_that_was_given_back_explains_that_its_number_is_skipped() -> None:
    raised, third = replace(RETURNED, how="raised"), replace(AGAIN, attempt=3)
    found = evidence(raised, third)

    def complaints(*attempts: int) -> list[str]:
        given_back = {(raised.key, attempt) for attempt in attempts}
        return kinds_of(account_for(PLAN, replace(found, given_back=given_back)))

    assert complaints(1, 3) == ["unexplained"]
    assert complaints(2) == []


def test_a_first_call_needs_an_explanation_for_each_attempt_before_it() -> None:
    found = evidence(replace(RETURNED, attempt=3))

    def complaints(*attempts: int) -> list[str]:
        given_back = {(RETURNED.key, attempt) for attempt in attempts}
        return kinds_of(account_for(PLAN, replace(found, given_back=given_back)))

    assert complaints(2) == ["unexplained"]
    assert complaints(1, 2) == []


def test_what_was_given_back_is_read_from_the_logs(tmp_path: Path) -> None:
    lines = [
        {"key": "job-1:Success:single:record", "attempt": 2, "reason": EXPIRED},
        {"key": "job-2:Success:single:record", "attempt": 1, "reason": "boom"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "log-1.jsonl").write_text(f"{text}\n{text[:30]}")
    os.mkfifo(tmp_path / "log-2.jsonl")

    assert given_back_in(tmp_path) == {("job-1:Success:single:record", 2)}


@each_case("kind", STORE_KINDS)
@each_case(("seconds", "expected"), [(LEASE - 1, ["doubled"]), (LEASE + 1, [])])
def test_a_store_that_is_away_excuses_a_repeat_only_if_every_lease_expired(
    kind: str, seconds: float, expected: list[str]
) -> None:
    assert kinds_of(accounted(done_to(STORE, kind, 10.5, 10.5 + seconds))) == expected


@each_case("kind", STORE_KINDS)
def test_a_store_that_was_away_at_another_time_excuses_nothing(kind: str) -> None:
    late = 11.0 + COMMIT + 0.5

    assert kinds_of(accounted(done_to(STORE, kind, late, late + STORE_OUTAGE))) == ["doubled"]


def test_a_kill_excuses_what_could_not_be_written_before_it_as_the_store_was_away() -> None:
    away = done_to(STORE, "outage", 10.5, 10.5 + LEASE - 0.5)
    kill = done_to(PID, "kill", 11.0 + COMMIT + 1.0, 11.0 + COMMIT + 1.1)

    assert kinds_of(accounted(kill)) == ["doubled"]
    assert dict(accounted(away, kill).repeats) == {"kill": 1}


@each_case(("slowness", "doubled"), [(1.0, ["doubled"]), (2.0, [])])
def test_on_a_busy_machine_an_end_is_written_later(slowness: float, doubled: list[str]) -> None:
    kill = done_to(PID, "kill", 11.0 + COMMIT + 1.0, 11.0 + COMMIT + 1.1)
    found = replace(evidence(RETURNED, AGAIN, endings=(kill,)), slowness=slowness)

    assert kinds_of(account_for(PLAN, found)) == doubled


def test_a_busy_machine_does_not_excuse_what_a_polite_stop_should_have_written() -> None:
    stop = done_to(PID, "stop", 13.0, 13.5)
    found = replace(evidence(RETURNED, AGAIN, endings=(stop,)), slowness=4.0)

    assert kinds_of(account_for(PLAN, found)) == ["doubled"]


@each_case("kind", ["file-replaced", "wal-removed"])
def test_a_changed_store_file_excuses_what_its_own_processes_could_not_write(kind: str) -> None:
    assert dict(accounted(done_to(PID, kind, 10.5, 12.5)).repeats) == {kind: 1}
    assert kinds_of(accounted(done_to(OTHER, kind, 10.5, 12.5))) == ["doubled"]


@each_case("kind", ["file-replaced", "wal-removed"])
def test_a_result_that_went_to_the_file_that_was_replaced_is_lost(kind: str) -> None:
    found = evidence(RETURNED, endings=(done_to(PID, kind, 10.5, 12.5),))
    found = replace(found, rows=replace(found.rows, results=[], deliveries=[]))

    assert "lost" in kinds_of(account_for(PLAN, found))


@each_case(
    ("number", "expected"), [(0, ["lost"]), (1, []), (2, ["doubled"])], ids=["missing", "once", "twice"]
)
def test_a_poisoned_callback_is_recorded_once(number: int, expected: list[str]) -> None:
    found = evidence()
    noted = [a_result(id=n, job_id="", run_id="r", state="𠀀", status="parked") for n in range(number)]
    found = replace(found, rows=replace(found.rows, jobs=[], results=noted, deliveries=[]))

    assert kinds_of(account_for(replace(PLAN, items=(NOTED,)), found)) == expected


def test_a_poisoned_callback_that_is_refused_is_a_dead_letter_of_no_handler() -> None:
    dead = {"id": 1, "result": 1, "route": "", "handler": "", "state": "dead"}
    noted = a_result(job_id="", run_id="r", state="𠀀", status="refused")
    found = evidence()
    found = replace(found, rows=replace(found.rows, jobs=[], results=[noted], deliveries=[dead]))
    without = replace(found, rows=replace(found.rows, deliveries=[]))
    plan = replace(PLAN, items=(NOTED,))

    assert kinds_of(account_for(plan, found)) == []
    assert kinds_of(account_for(plan, without)) == ["lost"]


def test_a_good_neighbour_of_a_poisoned_callback_that_is_not_recorded_is_lost() -> None:
    found = evidence()
    noted = [a_result(job_id="", run_id="r", state="𠀀", status="parked")]
    found = replace(found, rows=replace(found.rows, jobs=[], results=noted, deliveries=[]))
    plan = replace(PLAN, items=(ITEM, replace(NOTED, n=1)))

    assert kinds_of(account_for(plan, found)) == ["lost"]


def webhook(seconds: float, *endings: Ending) -> Accounting:
    call = replace(RETURNED, pid=ANY_PROCESS, how="raised", ended=RETURNED.begun + seconds)
    after = replace(RETURNED, pid=ANY_PROCESS, attempt=2, begun=60.0, ended=61.0)
    return account_for(PLAN, evidence(call, after, endings=endings))


def test_a_webhook_that_outlives_its_time_limit_is_noticed() -> None:
    longest = WEBHOOK_TIMEOUT + NOTICED

    assert kinds_of(webhook(longest - 0.1)) == []
    assert kinds_of(webhook(longest + 0.1)) == ["hung"]


@each_case(("beside", "expected"), [(HUNG_UP - 0.1, []), (HUNG_UP + 0.1, ["overlapping"])])
def test_a_webhook_that_runs_beside_its_next_attempt_is_noticed(beside: float, expected: list[str]) -> None:
    call = replace(RETURNED, pid=ANY_PROCESS, how="raised", ended=12.0)
    after = replace(RETURNED, pid=ANY_PROCESS, attempt=2, begun=12.0 - beside, ended=13.0)

    assert kinds_of(account_for(PLAN, evidence(call, after))) == expected


def test_a_webhook_of_a_frozen_process_may_outlive_it() -> None:
    longest = WEBHOOK_TIMEOUT + NOTICED

    assert kinds_of(webhook(longest + 3.0, done_to(PID, "freeze", 10.5, 13.6))) == []


def test_a_webhook_is_repeated_only_after_something_was_done_to_a_process() -> None:
    once = replace(RETURNED, pid=ANY_PROCESS)
    again = replace(AGAIN, pid=ANY_PROCESS)

    def complaints(*endings: Ending) -> list[str]:
        return kinds_of(account_for(PLAN, evidence(once, again, endings=endings)))

    assert complaints() == ["doubled"]
    assert complaints(done_to(STORE, "outage", 11.0, 12.0)) == ["doubled"]
    assert complaints(done_to(PID, "kill", 11.0, 11.1)) == []


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_few_seeds_have_blows_of_every_kind(store: str) -> None:
    plans = [drawn(seed, messages=SMALL + 1, store=store) for seed in range(ENOUGH_FOR_ALL_KINDS)]

    assert {blow.kind for plan in plans for blow in plan.blows} == set(blows_of(store))


def a_report(happened: Mapping[str, int]) -> Report:
    return Report(seed=0, accounting=Accounting(), happened=happened, seconds=0.0, folder=Path())


@each_case("store", ["sqlite", "postgresql"])
def test_every_kind_that_never_happened_is_named(store: str) -> None:
    every = [*map(str, FaultKind), *blows_of(store), *RECEIVER, *POISONS]

    assert never_happened([a_report(dict.fromkeys(every, 1))], store) == []
    for missing in every:
        counts = {kind: int(kind != missing) for kind in every}
        assert never_happened([a_report(counts)], store) == [missing]
