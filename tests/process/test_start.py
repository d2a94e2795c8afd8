"""What stops the daemon from starting, and when a drain ends: the exit status and the words for it."""

from __future__ import annotations

import pytest

from listener.core import clock
from listener.core.model import Target
from tests.support.builders import decoded_messages, routes_all
from tests.support.program import Place, Program, unused_endpoint

pytestmark = pytest.mark.process

SETTINGS_ERROR, UNAVAILABLE, LEFT = 78, 69, 3


def logged(program: Program, *words: str) -> bool:
    """Whether it ended with an error of ours that holds these words, and without a traceback."""
    text = program.stderr
    return "Error: " in text and "Traceback" not in text and all(word in text for word in words)


def test_drain_ends_once_all_is_done(place: Place) -> None:
    place.settings()
    place.send(*(f"job-{number}" for number in range(40)))
    place.send_raw("no callback")

    assert place.run("--drain").wait() == 0
    assert (place.messages_left(), place.delivery_states()) == (0, {"done": 40})
    assert len(place.quarantined()) == 1


def test_drain_waits_for_retries(place: Place) -> None:
    script = f'["sh", "-c", "test $MNS_LISTENER_ATTEMPT = 3 && touch {place.folder}/done"]'
    place.settings(f'[[routes]]\nname = "all"\nhandlers = [{{{{ use = "command", argv = {script} }}}}]\n')
    place.send("job-1")

    assert place.run("--drain", retry__initial_backoff="100ms").wait() == 0
    assert (place.folder / "done").exists()


def test_drain_ends_also_if_deliveries_without_a_handler_are_left(place: Place) -> None:
    place.settings()
    with place.store() as store:
        store.record(decoded_messages(2), routes_all(Target("old", "log")), at=clock.now())
    place.send("job-1")

    program = place.run("--drain")

    assert program.wait() == LEFT
    assert logged(program, "2 for the handler 'log' of the route 'old'")
    assert place.delivery_states() == {"pending": 2, "done": 1}


def test_drain_of_a_queue_that_cannot_be_used_ends_with_69(place: Place) -> None:
    place.server.call(lambda emulator: emulator.mns.queues.clear())
    place.settings()
    missing = place.run("--drain")
    store = f"sqlite:///{place.folder}/other.db"
    unreachable = place.run("--drain", queues__0__endpoint=unused_endpoint(), store__url=store)

    assert (missing.wait(), unreachable.wait()) == (UNAVAILABLE, UNAVAILABLE)
    assert logged(missing, "QueueNotExist", "create it")
    assert logged(unreachable, "connection refused")


@pytest.mark.fresh_interpreter
def test_settings_that_cannot_work_end_with_78_and_say_why(place: Place) -> None:
    place.settings()
    program = place.run(dispatch__concurrency="many")

    assert program.wait() == SETTINGS_ERROR
    assert logged(program, "dispatch.concurrency", "many")


def test_an_unwritable_store_ends_with_69(place: Place) -> None:
    place.settings()
    program = place.run(store__url="sqlite:////proc/listener.db")

    assert program.wait() == UNAVAILABLE
    assert logged(program, "/proc/listener.db", "writable")


def test_key_file_that_cannot_be_read_ends_with_78(place: Place) -> None:
    place.settings()
    missing = str(place.folder / "no-such-key")
    program = place.run(credentials__access_key_id_file=missing, credentials__access_key_secret_file=missing)

    assert program.wait() == SETTINGS_ERROR
    assert logged(program, "access_key_id_file", missing)
