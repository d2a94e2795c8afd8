"""What is shown about a listener, and what makes it unhealthy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from listener.cli.status_rows import RECEIVE_OVERDUE, Status, healthy, status_rows
from listener.core.check_result import Level
from listener.core.model import NewerKind, Source
from listener.rules.attention import PENDING_OVERDUE
from listener.store.statistics import OutcomeTimes, Totals
from tests.support.builders import NOON, a_daemon
from tests.support.cases import each_case
from tests.support.status import DAEMON, HOUR, QUEUE, VIEW, a_status, an_activity

SECOND = timedelta(seconds=1)


def row(status: Status, name: str) -> tuple[Level, str, str]:
    (found,) = [each for each in status_rows(status) if each.name == name]
    return found.level, found.detail, found.advice


def test_where_all_is_well_every_row_says_so_and_gives_no_advice() -> None:
    rows = status_rows(a_status())

    assert {each.level for each in rows} == {Level.OK}
    assert {each.advice for each in rows} == {""}
    assert healthy(rows)
    assert row(a_status(), "daemon")[1] == "host:1:one 1.0, up 1h, 2 in flight"
    assert row(a_status(), "queue mps-callbacks")[1] == "last answer 3s ago"
    assert row(a_status(), "store")[1] == "12.3 MB"


UNHEALTHY = [
    pytest.param({"daemons": ()}, "daemon", "none is running", id="no-daemon"),
    pytest.param({"view": replace(VIEW, unready="stalled: claim")}, "daemon", "stalled: claim", id="unready"),
    pytest.param(
        {"view": replace(VIEW, queues=(replace(QUEUE, fault="connection refused"),))},
        "queue mps-callbacks",
        "connection refused",
        id="queue-fault",
    ),
    pytest.param(
        {"view": replace(VIEW, queues=(replace(QUEUE, receive_age=RECEIVE_OVERDUE + SECOND),))},
        "queue mps-callbacks",
        "last answer 2m1s ago",
        id="silent-queue",
    ),
]


@each_case(("fields", "name", "words"), UNHEALTHY)
def test_a_listener_that_does_not_work_is_unhealthy_and_the_row_says_what_to_do(
    fields: dict[str, Any], name: str, words: str
) -> None:
    status = a_status(**fields)
    level, detail, advice = row(status, name)

    assert (level, words in detail, bool(advice)) == (Level.FAILED, True, True)
    assert not healthy(status_rows(status))


@each_case(
    ("totals", "name", "words"),
    [
        ({"dead": 3}, "dead letters", "mns-listener dead-letters list"),
        ({"parked": 3}, "parked", "mns-listener results reroute"),
        ({"quarantined": 3}, "quarantine", "mns-listener quarantine list"),
        ({"overdue": 3}, "overdue jobs", "mns-listener reconcile"),
        (
            {"pending": 3, "oldest_pending": NOON - PENDING_OVERDUE - SECOND},
            "deliveries",
            "mns-listener deliveries list",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_waits_for_a_person_is_a_warning_and_no_lack_of_health(
    totals: dict[str, Any], name: str, words: str
) -> None:
    status = a_status(totals=Totals(at=NOON, **totals))
    level, detail, advice = row(status, name)

    assert (level, words in advice, "3" in detail) == (Level.WARNING, True, True)
    assert healthy(status_rows(status))


def test_accepted_jobs_are_shown_with_what_they_wait_for() -> None:
    totals = Totals(at=NOON, accepted=5)
    assert row(a_status(totals=totals), "accepted jobs") == (Level.OK, "5 wait to be submitted", "")

    level, detail, _ = row(a_status(totals=totals, unserved={"shop": 3}), "accepted jobs")
    assert (level, "3 for a daemon with [tenants.shop.mps]" in detail) == (Level.WARNING, True)


def test_accepted_jobs_that_only_a_newer_release_submits_are_a_warning() -> None:
    waiting = NewerKind(kind="NewerKind", jobs=3, reference="talk-7")
    status = a_status(totals=Totals(at=NOON, accepted=5), newer_kinds=[waiting])
    level, detail, advice = row(status, "newer kinds")

    assert (level, "3 accepted jobs of kind NewerKind, such as talk-7" in detail) == (Level.WARNING, True)
    assert "the release that accepted them" in advice


def test_outcomes_that_came_by_query_are_a_warning_once_they_are_many() -> None:
    few = an_activity(ended_by=dict.fromkeys(Source, 0) | {Source.CALLBACK: 97, Source.QUERY: 3})
    many = an_activity(ended_by=dict.fromkeys(Source, 0) | {Source.CALLBACK: 93, Source.LISTENER: 7})
    too_few = an_activity(ended_by=dict.fromkeys(Source, 0) | {Source.CALLBACK: 1, Source.QUERY: 1})

    assert row(a_status(activity=few), "outcomes")[:2] == (Level.OK, "100 in 1h, 3 by query")
    assert row(a_status(activity=many), "outcomes")[:2] == (Level.WARNING, "100 in 1h, 7 declared lost")
    assert row(a_status(activity=too_few), "outcomes")[0] is Level.OK


def test_times_of_jobs_are_shown_for_the_functions_with_most_jobs() -> None:
    times = [
        OutcomeTimes(function=name, jobs=9, median=0.558 * SECOND, p95=90 * SECOND, longest=HOUR)
        for name in ("Cover", "", "ASR", "VideoH2V")
    ]
    rows = status_rows(a_status(activity=an_activity(times=times)))

    assert [each.detail.partition(":")[0] for each in rows if each.name == "job times"] == [
        "Cover",
        "no function",
        "ASR",
    ]
    assert "Cover: median 558ms, 95 % within 1m30s, longest 1h" in {each.detail for each in rows}


def test_a_daemon_that_cannot_be_asked_is_shown_as_the_store_knows_it() -> None:
    for view in (None, replace(VIEW, owner="of another store", unready="stalled: claim")):
        status = a_status(view=view)
        assert row(status, "queue mps-callbacks")[0] is Level.OK
        assert healthy(status_rows(status))


@each_case(
    ("host", "silent", "level"),
    [
        ("host", "unix:/run/http.sock", Level.FAILED),
        ("another", "unix:/run/http.sock", Level.OK),
        ("host", "", Level.OK),
    ],
    ids=["killed", "elsewhere", "no-address"],
)
def test_a_daemon_of_this_machine_that_does_not_answer_is_a_failure(
    host: str, silent: str, level: Level
) -> None:
    status = a_status(at=NOON + 12 * SECOND, view=None, host=host, silent=silent)
    shown, detail, advice = row(status, "daemon")

    assert (shown, bool(advice), healthy(status_rows(status))) == (
        level,
        level is Level.FAILED,
        level is Level.OK,
    )
    assert "last seen 12s ago" in detail
    assert ("nothing answers at unix:/run/http.sock" in detail) is bool(advice)


def test_what_a_daemon_says_is_shown_beside_other_replicas() -> None:
    other = a_daemon(owner="host:2:two", queues=("mps-callbacks", "elsewhere"))
    names = [each.name for each in status_rows(a_status(daemons=(other, DAEMON)))]

    assert names[:4] == ["daemon", "daemon", "queue mps-callbacks", "queue elsewhere"]
