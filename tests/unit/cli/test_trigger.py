"""``trigger`` sends what MPS would send, and asks before it does so to a queue of another machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from listener.cli.trigger import WRAPPINGS
from listener.core.model import Result
from listener.emulator.mps.sample_callbacks import SAMPLE_CALLBACKS
from listener.formats import wrapping
from listener.formats.callback import decode
from tests.support.builders import JOB_ID, TOKEN, a_job
from tests.support.command_line import Invoke
from tests.support.program import QUEUE, Place
from tests.support.terminal import run_at_terminal

REMOTE = "https://1234567890.mns.cn-shanghai.aliyuncs.com/queues/mps-callbacks"


def received(place: Place) -> list[Result]:
    """What a daemon would read from the queue."""
    queue = place.server.emulator.mns.queues[QUEUE]
    return [decode(message.body) for message in place.server.call(lambda _: queue.peek(1000))]


@pytest.mark.parametrize("name", SAMPLE_CALLBACKS)
def test_each_kind_and_state_can_be_sent(place: Place, printed: Callable[..., Any], name: str) -> None:
    sent = printed("trigger", name.upper(), "--route", "covers", "--data", "7")

    (result,) = received(place)
    assert sent == {
        "name": name,
        "queue": QUEUE,
        "endpoint": place.server.url,
        "sent": 1,
        "jobs": [result.job_id or result.run_id],
    }
    assert result.user_data == "covers:7"


def test_the_list_has_every_sample_and_needs_no_settings(printed: Callable[..., Any], invoke: Invoke) -> None:
    assert [each["name"] for each in printed("trigger", "--list")] == list(SAMPLE_CALLBACKS)
    assert invoke("trigger", "--list").stdout.count("\n") == 1 + len(SAMPLE_CALLBACKS)


def test_every_wrapping_is_offered() -> None:
    assert list(wrapping.WRAPPINGS) == list(WRAPPINGS)


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_what_is_printed_is_what_would_be_sent(place: Place, invoke: Invoke, wrap: str) -> None:
    options = ("iproduction.success", "--function", "ASR", "--job-id", JOB_ID, "--wrap", wrap)
    result = invoke("trigger", *options, "--print")

    decoded = decode(result.stdout)
    assert (decoded.job_id, decoded.function) == (JOB_ID, "ASR")
    assert place.messages_left() == 0


def test_a_known_job_is_called_back_with_its_id_its_user_data_and_its_token(
    place: Place, invoke: Invoke
) -> None:
    with place.store() as store:
        store.add_job(a_job(reference="talk-7", user_data="covers:7", function="ASR"))

    result = invoke("trigger", "iproduction.fail", "--job", "talk-7")

    (sent,) = received(place)
    assert (result.exit_code, sent.job_id, sent.token, sent.user_data) == (0, JOB_ID, TOKEN, "covers:7")
    assert (sent.function, sent.state) == ("ASR", "Fail")
    assert "asks MPS about the job" in result.stderr  # correlation.verify is "known"


def test_of_an_unknown_job_no_verification_is_announced(place: Place, invoke: Invoke) -> None:
    assert invoke("trigger", "iproduction.fail").stderr == ""
    assert "asks MPS" in invoke("trigger", "iproduction.fail", correlation__verify="always").stderr


@pytest.mark.parametrize(
    ("options", "verify", "words"),
    [
        pytest.param(("--early",), "known", "does not know it, and quarantines the callback", id="new-id"),
        pytest.param(("--early", "--job-id", JOB_ID), "known", "records what MPS says", id="id-of-mps"),
        pytest.param((), "always", "does not know it, and quarantines the callback", id="always"),
        pytest.param(("--early",), "never", "", id="never"),
    ],
)
def test_it_warns_of_what_becomes_of_a_callback_about_which_mps_is_asked(
    place: Place, invoke: Invoke, options: tuple[str, ...], verify: str, words: str
) -> None:
    warning = invoke("trigger", "snapshot.success", *options, correlation__verify=verify).stderr

    assert (words in warning) if words else (warning == "")
    assert place.messages_left() == 1


def test_an_early_callback_is_sent_before_its_job_is_registered(
    place: Place, printed: Callable[..., Any]
) -> None:
    sent = printed("trigger", "snapshot.success", "--early", "--count", "2", "--data", "7")

    jobs = [job for _, job in place.queries(lambda queries: queries.jobs())]
    assert sorted(job.job_id for job in jobs) == sorted(sent["jobs"])
    assert {(job.kind, job.user_data) for job in jobs} == {("Snapshot", "7")}
    registered = {job.job_id: job.created_at.timestamp() * 1000 for job in jobs}
    messages = place.server.call(lambda emulator: emulator.mns.queues[QUEUE].peek(1000))
    late = [each for each in messages if each.enqueued_ms > registered[decode(each.body).job_id]]
    assert (len(messages), late) == (2, [])


def test_count_makes_different_jobs_and_duplicate_copies_of_each(
    place: Place, printed: Callable[..., Any]
) -> None:
    sent = printed("trigger", "iproduction.success", "--count", "3", "--duplicate", "1", "--rate", "1000")

    ids = [result.job_id for result in received(place)]
    assert (sent["sent"], len(sent["jobs"]), len(ids)) == (6, 3, 6)
    assert {ids.count(job) for job in sent["jobs"]} == {2}


def test_members_are_changed_in_both_spellings(place: Place, invoke: Invoke) -> None:
    changes = ("--set", "State=Cancelled", "--set", "+Details=[1]")
    (body,) = json.loads(
        invoke("trigger", "transcode.success", *changes, "--print", "--json", "--wrap", "raw").stdout
    )

    document = json.loads(body)
    assert (document["State"], document["state"], document["Details"]) == ("Cancelled", "Cancelled", [1])


def test_a_function_that_is_not_documented_is_a_warning(place: Place, invoke: Invoke) -> None:
    result = invoke("trigger", "iproduction.success", "--function", "cover")

    assert (result.exit_code, place.messages_left()) == (0, 1)
    assert "did you mean Cover?" in result.stderr


def test_what_is_no_callback_any_more_is_announced(place: Place, invoke: Invoke) -> None:
    result = invoke("trigger", "iproduction.success", "--set", "JobId=")

    assert (result.exit_code, "quarantine" in result.stderr, place.messages_left()) == (0, True, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "specify a KIND.STATE", id="nothing"),
        pytest.param(["transcode.succes"], "did you mean transcode.success?", id="misspelled"),
        pytest.param(["iproduction.fail", "--set", "x"], "use PATH=VALUE", id="no-value"),
        pytest.param(
            ["iproduction.fail", "--wrap", "raw", "--set", r'Message="\ufffe"'],
            "XML, and so MNS",
            id="not-in-xml",
        ),
        pytest.param(["iproduction.fail", "--set", "State.x=1"], "--set: 'State.x' leads nowhere", id="path"),
        pytest.param(["iproduction.fail", "--set", "Stat=1"], "no member 'Stat'; there are ", id="member"),
        pytest.param(
            ["iproduction.fail", "--queue", "x"], "not a queue of the settings; use --queue", id="queue"
        ),
        pytest.param(["iproduction.fail", "--queue", "x://y"], "is not a valid queue URL", id="queue-url"),
        pytest.param(
            ["iproduction.fail", "--job", "j", "--route", "r"], "--route has no effect", id="job-route"
        ),
        pytest.param(["iproduction.fail", "--job-id", "j", "--count", "2"], "--duplicate", id="one-id"),
        pytest.param(
            ["iproduction.fail", "--user-data", "j", "--data", "2"], "complete user data", id="data"
        ),
        pytest.param(["snapshot.fail", "--function", "Cover"], "belongs to iproduction", id="function"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    place: Place, invoke: Invoke, arguments: list[str], words: str
) -> None:
    result = invoke("trigger", *arguments)

    assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
    assert place.messages_left() == 0


def test_a_queue_of_another_machine_requires_yes_where_there_is_no_terminal(
    place: Place, invoke: Invoke
) -> None:
    result = invoke("trigger", "iproduction.success", "--queue", REMOTE)

    assert result.exit_code == 2
    assert "is not on this machine" in result.stderr
    assert "requires --yes" in result.stderr


@pytest.mark.process
def test_at_a_terminal_it_asks_before_it_sends_to_another_machine(place: Place) -> None:
    status, displayed = run_at_terminal(
        "trigger", "iproduction.success", "--queue", REMOTE, folder=place.folder, typed="n\n"
    )

    assert status == 1
    assert "cannot tell these messages from callbacks of MPS" in " ".join(displayed.split())
    assert "Send 1 message to it? [y/N]" in displayed


def test_a_queue_by_its_url_needs_no_entry_in_the_settings(place: Place, invoke: Invoke) -> None:
    place.server.call(lambda emulator: emulator.mns.create("other"))
    result = invoke("trigger", "ims.event", "--queue", f"{place.server.url}/queues/other")

    assert (result.exit_code, place.messages_left()) == (0, 0)
    assert f"sent 1 ims.event to the queue other at {place.server.url}\njob " in result.stdout


def test_of_several_queues_one_has_to_be_named(place: Place, invoke: Invoke) -> None:
    path = place.settings()
    path.write_text(path.read_text() + f'\n[[queues]]\nendpoint = "{place.server.url}"\nqueue = "other"\n')
    refused = invoke("trigger", "ims.event")
    named = invoke("trigger", "ims.event", "--queue", QUEUE)

    assert (refused.exit_code, named.exit_code) == (2, 0)
    assert (
        f"several queues are in the settings; use --queue with one of their names ({QUEUE}, other)"
        in refused.stderr
    )
