"""``record`` writes what was received to a file, and ``replay`` sends it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.core.model import Source
from listener.formats.callback import decode
from tests.support.builders import (
    JOB_ID,
    NOON,
    TOKEN,
    a_callback,
    a_decoded_message,
    a_message,
    a_result,
    routes_all,
    wrapped,
)
from tests.support.command_line import Invoke
from tests.support.program import QUEUE, Place

ROUTES = """\
[[routes]]
name = "first"
match = {{ route = "covers", data = {{ size = ["big", "small"] }} }}
handlers = [{{ use = "log" }}]
"""


@pytest.fixture
def filled(place: Place) -> Place:
    """A callback, a later one that was garbled, a result of a query, and a callback of another function."""
    with place.store() as store:
        recorded = (
            (a_result(raw=a_callback(UserData="covers:Zoe"), function="VideoH2V"), ""),
            (None, "Zoe"),
            (a_result(job_id="queried", source=Source.QUERY, raw="{}"), ""),
            (a_result(job_id="asr", function="ASR", raw=a_callback(JobId="asr", FunctionName="ASR")), ""),
        )
        for number, (result, body) in enumerate(recorded):
            message = a_message(message_id=str(number), body=body)
            decoded = a_decoded_message(message=message, result=result)
            store.record([decoded], routes_all(), at=NOON + timedelta(minutes=number))
    return place


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_store_gives_callbacks_and_quarantined_messages_the_oldest_first(
    filled: Place, invoke: Invoke
) -> None:
    result = invoke("record", "--from-store")

    lines = lines_of(result.stdout)
    assert [line.get("job_id") for line in lines] == [JOB_ID, None, "asr"]
    assert lines[0] == {
        "body": a_callback(UserData="covers:Zoe"),
        "queue": QUEUE,
        "received_at": NOON.isoformat(),
        "job_id": JOB_ID,
        "state": "Success",
    }
    assert (lines[1]["body"], lines[1]["quarantined"]) == ("Zoe", "it is no callback")
    assert result.stderr == "recorded 3 messages\n"


def test_what_was_recorded_at_the_same_time_keeps_its_order(place: Place, invoke: Invoke) -> None:
    with place.store() as store:
        for name in ("b", "c", "a"):
            result = a_result(job_id=name, raw=a_callback(JobId=name))
            message = a_message(message_id=name)
            store.record([a_decoded_message(message=message, result=result)], routes_all(), at=NOON)

    assert [line["job_id"] for line in lines_of(invoke("record", "--from-store").stdout)] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("options", "bodies"),
    [
        pytest.param(["--function", "asr"], [2], id="function-that-no-quarantined-message-has"),
        pytest.param(["--until", "2024-05-01T12:01:30+00:00"], [0, 1], id="time"),
        pytest.param(["--queue", "other"], [], id="queue"),
        pytest.param(["--limit", "2"], [1, 2], id="the-newest"),
    ],
)
def test_the_filters_are_those_of_lists(
    filled: Place, invoke: Invoke, options: list[str], bodies: list[int]
) -> None:
    everything = lines_of(invoke("record", "--from-store").stdout)

    found = lines_of(invoke("record", "--from-store", *options).stdout)
    assert found == [everything[place] for place in bodies]


def test_a_queue_gives_what_is_there_and_it_stays_there(place: Place, invoke: Invoke) -> None:
    place.send_raw(*(wrapped(a_callback(JobId=str(number))) for number in range(20)))
    result = invoke("record", "--queue", QUEUE, "--output", "calls.jsonl")

    lines = place.lines("calls.jsonl")
    assert (result.exit_code, result.stderr) == (0, "recorded 16 messages\n")
    assert {decode(line["body"]).job_id for line in lines} <= {str(number) for number in range(20)}
    assert {line["queue"] for line in lines} == {QUEUE}
    assert (place.messages_left(), place.messages_hidden()) == (20, 0)


def test_an_empty_queue_gives_no_lines(place: Place, invoke: Invoke) -> None:
    result = invoke("record", "--queue", QUEUE)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "recorded 0 messages\n")


@pytest.mark.parametrize("options", [[], ["--since", "2h"], ["--queue", QUEUE, "--since", "2h"]])
def test_it_needs_a_source_and_a_queue_has_no_filters(
    place: Place, invoke: Invoke, options: list[str]
) -> None:
    result = invoke("record", *options)

    assert (result.exit_code, "specify --from-store" in result.stderr) == (2, True)


def test_redacted_user_data_keep_what_routes_name(place: Place, invoke: Invoke) -> None:
    place.settings(ROUTES)
    data = {"route": "covers", "size": "big", "name": "Zoe"}
    place.send_raw(a_callback(UserData="covers:Zoe"), a_callback(UserData=json.dumps(data)), "Zoe")

    bodies = [line["body"] for line in lines_of(invoke("record", "--queue", QUEUE, "--redact").stdout)]
    assert [decode(body).user_data for body in bodies[:2]] == [
        "covers:Xxx",
        '{"route":"covers","size":"big","name":"Xxx"}',
    ]
    assert bodies[2] == "Xxx"


@pytest.fixture
def recorded(place: Place) -> Path:
    """Two callbacks of one job and one that is none."""
    path = place.folder / "calls.jsonl"
    token_too = f"7#mnsl={TOKEN}"
    bodies = (wrapped(a_callback(UserData=token_too)), a_callback(State="Fail"), "garbled")
    path.write_text("".join(json.dumps({"body": body}) + "\n" for body in bodies) + "\n")
    return path


def in_queue(place: Place) -> list[str]:
    queue = place.server.emulator.mns.queues[QUEUE]
    return [message.body for message in place.server.call(lambda _: queue.peek(1000))]


def test_everything_is_sent_in_its_order_and_as_often_as_asked(
    place: Place, recorded: Path, printed: Callable[..., Any], invoke: Invoke
) -> None:
    sent = printed("replay", recorded.name, "--times", "2", "--rate", "1000")

    bodies = [json.loads(line)["body"] for line in recorded.read_text().splitlines() if line]
    assert sent == {"queue": QUEUE, "endpoint": place.server.url, "sent": 6}
    assert in_queue(place) == bodies * 2
    assert invoke("replay", recorded.name).stdout.startswith(f"sent 3 messages to the queue {QUEUE}")


def test_new_ids_are_the_same_for_one_job_and_others_each_time(
    place: Place, recorded: Path, invoke: Invoke
) -> None:
    assert invoke("replay", recorded.name, "--new-ids", "--times", "2").exit_code == 0

    first, failed, garbled, again, *_ = in_queue(place)
    results = [decode(body) for body in (first, failed, again)]
    assert results[0].job_id == results[1].job_id != results[2].job_id
    assert JOB_ID not in {result.job_id for result in results}
    assert [(result.user_data, result.token) for result in results] == [("7", ""), (None, ""), ("7", "")]
    assert garbled == "garbled"


@pytest.mark.parametrize(
    "line", ["x", "[1]", "{}", '{"body": 1}', "7"], ids=["text", "list", "no-body", "number", "only-number"]
)
def test_a_line_of_another_kind_is_refused_by_its_number_before_anything_is_sent(
    place: Place, recorded: Path, invoke: Invoke, line: str
) -> None:
    recorded.write_text(recorded.read_text() + line)
    result = invoke("replay", recorded.name)

    assert (result.exit_code, "calls.jsonl:5" in result.stderr) == (2, True), result.stderr
    assert place.messages_left() == 0


def test_a_real_queue_requires_yes(place: Place, recorded: Path, invoke: Invoke) -> None:
    url = "https://1234567890.mns.cn-shanghai.aliyuncs.com/queues/mps-callbacks"
    result = invoke("replay", recorded.name, "--queue", url)

    assert (result.exit_code, "requires --yes" in result.stderr) == (2, True)


def test_what_cannot_be_sent_is_skipped_and_all_others_are_sent(place: Place, invoke: Invoke) -> None:
    """As some messages in quarantine, whose reply was not valid XML."""
    bodies = ["a", "\x1b[31m", "\x00", "\ud800", "\ufffe", "字\t\n\U0001f600"]
    (place.folder / "calls.jsonl").write_text("".join(json.dumps({"body": body}) + "\n" for body in bodies))

    result = invoke("replay", "calls.jsonl")

    assert (result.exit_code, in_queue(place)) == (0, ["a", "字\t\n\U0001f600"])
    assert "skipping 4 messages" in result.stderr


def test_a_file_that_exists_is_only_replaced_with_force(filled: Place, invoke: Invoke) -> None:
    path = filled.folder / "calls.jsonl"
    path.write_text("of yesterday")
    refused = invoke("record", "--from-store", "--output", str(path))
    kept = path.read_text()
    replaced = invoke("record", "--from-store", "--output", str(path), "--force")

    assert (refused.exit_code, kept, replaced.exit_code) == (73, "of yesterday", 0)
    assert "exists already; choose another name, or replace it with --force" in refused.stderr
    assert len(lines_of(path.read_text())) == 3
