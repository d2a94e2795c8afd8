"""A generation of handlers is closed once: when it is no longer used, and not before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core.errors import SettingsError, Unavailable
from listener.core.model import Target
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handlers import HandlerGenerations, Handlers
from listener.settings.sections import HandlerSettings, RouteSettings
from tests.support.noting import imported_noting, install_noting
from tests.support.results import a_job_result
from tests.support.waiting import wait_until


@pytest.fixture
def noting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    install_noting(monkeypatch, tmp_path)
    package = imported_noting()
    yield package
    package.may_return.set()
    package.may_close.set()


@pytest.fixture
def runner() -> Iterator[CoroutineRunner]:
    runner = CoroutineRunner()
    yield runner
    runner.close()


def generation(runner: CoroutineRunner, *labels: str) -> Handlers:
    handlers = tuple(
        HandlerSettings.model_validate({"use": "noting", "name": label, "label": label})
        for label in labels or ("one",)
    )
    return Handlers([RouteSettings(name="all", handlers=handlers)], runner=runner)


def call_in_thread(handlers: Handlers, label: str = "one") -> threading.Thread:
    run = handlers.bind(Target("all", label))
    thread = threading.Thread(target=run, args=(a_job_result(),), daemon=True)
    thread.start()
    return thread


def test_a_retired_generation_without_calls_is_closed(noting: Any, runner: CoroutineRunner) -> None:
    handlers = generation(runner, "one", "two")
    handlers.retire()

    wait_until(lambda: handlers.closed)
    assert noting.events == ["built one", "built two", "closed one", "closed two"]


def test_a_retired_generation_is_closed_when_its_running_call_returns(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_return.clear()
    handlers = generation(runner)
    call = call_in_thread(handlers)
    assert noting.began.wait(30)
    handlers.retire()
    assert not handlers.closed
    assert noting.events == ["built one"]

    noting.may_return.set()
    call.join(30)
    wait_until(lambda: handlers.closed)
    assert noting.events == ["built one", "returned one", "closed one"]


def test_a_generation_in_use_stays_open_between_calls(noting: Any, runner: CoroutineRunner) -> None:
    handlers = generation(runner)
    for _call in range(2):
        handlers.bind(Target("all", "one"))(a_job_result())

    assert not handlers.closed
    assert noting.events == ["built one", "returned one", "returned one"]


def test_a_call_that_comes_after_the_close_is_retried_and_spends_no_attempt(
    noting: Any, runner: CoroutineRunner
) -> None:
    handlers = generation(runner)
    run = handlers.bind(Target("all", "one"))
    handlers.retire()
    wait_until(lambda: handlers.closed)

    with pytest.raises(Unavailable, match="reloaded"):
        run(a_job_result())
    assert "returned one" not in noting.events


def test_close_does_not_wait_for_calls_and_happens_once(noting: Any, runner: CoroutineRunner) -> None:
    noting.may_return.clear()
    handlers = generation(runner)
    call = call_in_thread(handlers)
    assert noting.began.wait(30)
    handlers.close()
    assert noting.events == ["built one", "closed one"]

    noting.may_return.set()
    call.join(30)
    handlers.retire()
    handlers.close()
    assert noting.events == ["built one", "closed one", "returned one"]


def test_a_close_that_hangs_holds_up_neither_a_reload_nor_a_worker(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_close.clear()
    idle, busy = generation(runner), generation(runner)
    noting.may_return.clear()
    call = call_in_thread(busy)
    assert noting.began.wait(30)
    idle.retire()
    busy.retire()
    noting.may_return.set()

    call.join(30)
    assert not call.is_alive()
    assert (idle.closed, busy.closed) == (False, False)


def test_what_one_close_raises_does_not_keep_the_others_open(noting: Any, runner: CoroutineRunner) -> None:
    handlers = generation(runner, "exits", "two")
    with capture_logs() as logs:
        handlers.close()

    assert noting.events[-2:] == ["closed exits", "closed two"]
    assert [(entry["event"], entry["handler"]) for entry in logs] == [("handler.close_failed", "exits")]


def test_handlers_that_were_loaded_before_one_that_fails_are_closed(
    noting: Any, runner: CoroutineRunner
) -> None:
    with pytest.raises(SettingsError, match="broken on purpose"):
        generation(runner, "one", "two", "broken", "three")

    assert noting.events == ["built one", "built two", "closed one", "closed two"]


def test_many_replacements_leave_one_generation(noting: Any, runner: CoroutineRunner) -> None:
    generations = HandlerGenerations(generation(runner))
    for _replacement in range(50):
        generations.replace(generation(runner))

    wait_until(lambda: len(generations.open()) == 1)
    wait_until(lambda: noting.events.count("closed one") == 50)
    generations.close()
    assert noting.events.count("closed one") == noting.events.count("built one") == 51


def test_at_the_end_generations_are_closed_even_under_their_calls(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_return.clear()
    first = generation(runner, "first")
    generations = HandlerGenerations(first)
    call_in_thread(first, "first")
    assert noting.began.wait(30)
    generations.replace(generation(runner, "second"))
    assert len(generations.open()) == 2

    generations.close()
    assert noting.events[-2:] == ["closed first", "closed second"]
    assert generations.open() == []
