"""Submitting accepted jobs, with MPS in memory and a real store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable, StoreFailureKind, StoreUnavailable
from listener.core.model import Job, JobState, Submitted
from listener.jobs.submitter import Submitter
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, an_accepted_job
from tests.support.clocks import freeze_time
from tests.support.memory_mps import MemoryMps
from tests.support.sqlite import new_sqlite_store
from tests.support.stores import the_job

#: Tokens, and references.
A, B, C = (name * 22 for name in "abc")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with freeze_time(), new_sqlite_store(tmp_path) as store:
        yield store


class Accepting(MemoryMps):
    """Accepts jobs, or has this trouble with them."""

    def __init__(self, *trouble: MpsUnavailable | MpsRejected | None) -> None:
        super().__init__()
        self.sent: list[str] = []  #: the tokens of the jobs
        self.coming = list(trouble)

    def submit(
        self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
    ) -> Submitted:
        if on_turn:
            on_turn()
        self.sent.append(job.token)
        if self.coming and (error := self.coming.pop(0)):
            raise error
        return Submitted(job_id=f"id-of-{job.token}")


def away(kind: FailureKind) -> MpsUnavailable:
    return MpsUnavailable("MPS is away", kind=kind)


def a_submitter(
    store: SqlStore,
    mps: MemoryMps,
    *,
    stop: threading.Event | None = None,
) -> Submitter:
    """It makes one call at a time."""
    return Submitter(
        store=store,
        mps=mps,
        tenant="",
        rate_limit=1,
        woken=threading.Event(),
        stop=stop or threading.Event(),
    )


def accept(store: SqlStore, *names: str, tenant: str = "") -> None:
    store.accept_jobs([an_accepted_job(name, tenant=tenant) for name in names])


def states(store: SqlStore, *names: str) -> Sequence[JobState]:
    return [the_job(store, name).state for name in names]


def test_jobs_are_submitted_in_order_until_none_is_left(store: SqlStore) -> None:
    names = [f"{number:022d}" for number in range(6)]
    accept(store, *names)
    mps = Accepting()
    submitter = a_submitter(store, mps)

    assert submitter.turn()
    assert not submitter.turn()
    assert mps.sent == names
    assert {the_job(store, name).job_id for name in names} == {f"id-of-{name}" for name in names}
    assert not submitter.turn()
    assert len(mps.sent) == 6


@pytest.mark.parametrize(
    "error",
    [
        away(FailureKind.REFUSED),
        away(FailureKind.THROTTLED),
        away(FailureKind.CREDENTIALS),
        MpsUnavailable("MPS is away", kind=FailureKind.TIMEOUT, sent=False),
    ],
    ids=["refused", "throttled", "credentials", "no-connection"],
)
def test_what_was_not_sent_is_submitted_later(store: SqlStore, error: MpsUnavailable) -> None:
    accept(store, A, B)
    mps = Accepting(error)
    submitter = a_submitter(store, mps)
    submitter.turn()
    assert states(store, A, B) == [JobState.ACCEPTED] * 2

    submitter.turn()  # with one job
    submitter.turn()
    assert states(store, A, B) == [JobState.SUBMITTED] * 2
    assert len(mps.sent) == 3


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.TLS])
def test_what_mps_may_have_is_never_sent_again_and_the_others_wait(
    store: SqlStore, kind: FailureKind
) -> None:
    accept(store, A, B, C)
    mps = Accepting(away(kind), away(kind))
    submitter = a_submitter(store, mps)
    submitter.turn()
    assert states(store, A, B, C) == [JobState.INTENT, JobState.ACCEPTED, JobState.ACCEPTED]
    submitter.turn()
    assert states(store, A, B, C) == [JobState.INTENT, JobState.INTENT, JobState.ACCEPTED]

    submitter.turn()
    submitter.turn()
    assert states(store, A, B, C) == [JobState.INTENT, JobState.INTENT, JobState.SUBMITTED]
    assert len(mps.sent) == 3


@pytest.mark.parametrize(
    "error",
    [MpsRejected("MPS: no such pipeline", code="x"), away(FailureKind.DENIED)],
    ids=["rejected", "denied"],
)
def test_a_refusal_is_recorded_and_the_others_go_on(
    store: SqlStore, error: MpsRejected | MpsUnavailable
) -> None:
    accept(store, A, B)
    submitter = a_submitter(store, Accepting(error))
    submitter.turn()
    submitter.turn()

    refused = the_job(store, A)
    assert (refused.state, refused.error, refused.finished_at) == (JobState.REFUSED, str(error), NOON)
    assert states(store, B) == [JobState.SUBMITTED]


def test_damaged_jobs_hold_up_no_others(store: SqlStore) -> None:
    """After a failure, one job is tried at a time: that must be one that can be read."""
    accept(store, A, B, C)
    with store.database.write() as connection:
        connection.execute(text("UPDATE jobs SET deadline_at = 'x' WHERE token = :token"), {"token": A})
    submitter = a_submitter(store, Accepting(away(FailureKind.REFUSED)))
    for _ in range(3):
        submitter.turn()

    assert states(store, B, C) == [JobState.SUBMITTED] * 2


def test_a_job_that_no_call_can_be_made_of_holds_up_no_others(store: SqlStore) -> None:
    accept(store, A, B)

    class Broken(Accepting):
        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            if job.token == A:
                raise KeyError("a bug")
            return super().submit(job, user_data=user_data, on_turn=on_turn)

    with capture_logs() as logs:
        a_submitter(store, Broken()).turn()

    assert states(store, A, B) == [JobState.ACCEPTED, JobState.SUBMITTED]
    assert [(line["event"], line["reference"]) for line in logs] == [("submit.crashed", A)]


def test_a_whole_turn_of_jobs_that_a_bug_stops_holds_up_no_others(store: SqlStore) -> None:
    """They are tried again after the others."""
    broken = [f"{number:022d}" for number in range(8)]
    accept(store, *broken, A, B)

    class Broken(Accepting):
        fixed = False

        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            if job.token in broken and not self.fixed:
                raise KeyError("a bug")
            return super().submit(job, user_data=user_data, on_turn=on_turn)

    mps = Broken()
    submitter = a_submitter(store, mps)
    with capture_logs() as logs:
        assert [submitter.turn() for _ in range(3)] == [True, True, False]
    assert [line["reference"] for line in logs] == broken
    assert mps.sent == [A, B]

    mps.fixed = True
    assert [submitter.turn() for _ in range(3)] == [True, True, False]
    assert mps.sent == [A, B, *broken]


def test_jobs_of_other_tenants_are_left_to_those_that_serve_them(store: SqlStore) -> None:
    accept(store, A, tenant="shop")
    accept(store, B)
    mps = Accepting()
    assert not a_submitter(store, mps).turn()

    assert (mps.sent, states(store, A)) == ([B], [JobState.ACCEPTED])


def test_a_stop_while_a_job_waits_for_its_turn_sends_nothing(store: SqlStore) -> None:
    accept(store, A)
    stop = threading.Event()

    class Stopping(Accepting):
        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            stop.set()
            return super().submit(job, user_data=user_data, on_turn=on_turn)

    mps = Stopping()
    a_submitter(store, mps, stop=stop).turn()
    assert (mps.sent, states(store, A)) == ([], [JobState.ACCEPTED])


def test_what_another_process_has_begun_is_left_to_it(store: SqlStore) -> None:
    accept(store, A)

    class Late(Accepting):
        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            store.begin_submission(A, at=NOON)  # of another process
            return super().submit(job, user_data=user_data, on_turn=on_turn)

    mps = Late()
    a_submitter(store, mps).turn()
    assert (mps.sent, states(store, A)) == ([], [JobState.INTENT])


@pytest.mark.parametrize("kind", [FailureKind.CREDENTIALS, FailureKind.DENIED])
def test_a_call_that_another_process_makes_is_not_undone_by_a_failure_before_the_turn(
    store: SqlStore, kind: FailureKind
) -> None:
    accept(store, A)

    class NoKey(Accepting):
        def submit(
            self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
        ) -> Submitted:
            store.begin_submission(A, at=NOON)  # of another process
            raise away(kind)

    a_submitter(store, NoKey()).turn()
    assert states(store, A) == [JobState.INTENT]


def test_a_call_that_another_process_makes_is_not_undone_with_a_beginning_that_failed(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(store, A)
    begin, again = store.begin_submission, store.accept_again

    def locked(*_given: object, **_named: object) -> bool:
        raise StoreUnavailable("locked", kind=StoreFailureKind.LOCKED)

    def after_another(token: str, *, begun_at: datetime) -> None:
        begin(token, at=NOON + timedelta(seconds=1))
        again(token, begun_at=begun_at)

    mps = Accepting()
    submitter = a_submitter(store, mps)
    monkeypatch.setattr(store, "begin_submission", locked)
    monkeypatch.setattr(store, "accept_again", after_another)
    with pytest.raises(StoreUnavailable):
        submitter.turn()
    monkeypatch.undo()
    submitter.turn()
    assert (mps.sent, states(store, A)) == ([], [JobState.INTENT])


@pytest.mark.parametrize(
    ("error", "method", "state"),
    [(None, "bind_job", JobState.SUBMITTED), (MpsRejected("no", code="x"), "refuse_job", JobState.REFUSED)],
    ids=["submitted", "rejected"],
)
def test_an_answer_that_the_store_did_not_take_is_stored_later(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, error: MpsRejected | None, method: str, state: JobState
) -> None:
    accept(store, A)

    def locked(*_given: object) -> None:
        raise StoreUnavailable("locked", kind=StoreFailureKind.LOCKED)

    mps = Accepting(error)
    submitter = a_submitter(store, mps)
    monkeypatch.setattr(store, method, locked)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            submitter.turn()
    monkeypatch.undo()
    submitter.turn()
    assert (mps.sent, states(store, A)) == ([A], [state])


def test_a_beginning_whose_commit_is_not_known_is_taken_back(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(store, A)
    begin = store.begin_submission

    def cut_off(*given: object, **named: object) -> bool:
        begin(*given, **named)  # type: ignore[arg-type]  # whatever it is called with
        raise StoreUnavailable("connection lost", kind=StoreFailureKind.CONNECTION)

    mps = Accepting()
    submitter = a_submitter(store, mps)
    monkeypatch.setattr(store, "begin_submission", cut_off)
    with pytest.raises(StoreUnavailable):
        submitter.turn()
    monkeypatch.undo()
    assert (mps.sent, states(store, A)) == ([], [JobState.ACCEPTED])
    submitter.turn()
    assert (mps.sent, states(store, A)) == ([A], [JobState.SUBMITTED])
