"""A reload keeps unchanged handlers; every other one is closed once: when it is no longer used, and not before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.core.errors import SettingsError, Unavailable
from listener.core.model import Target
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handlers import Handlers
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


def routes(*labels: str, **options: Any) -> list[RouteSettings]:
    """One route with a handler for each label."""
    handlers = tuple(
        HandlerSettings.model_validate({"use": "noting", "name": label, "label": label} | options)
        for label in labels
    )
    return [RouteSettings(name="all", handlers=handlers)]


def replace(handlers: Handlers, *labels: str, **options: Any) -> None:
    handlers.use(handlers.load(routes(*labels, **options)))


def call_in_thread(handlers: Handlers, label: str = "one") -> threading.Thread:
    run = handlers.bind(Target("all", label))
    thread = threading.Thread(target=run, args=(a_job_result(),), daemon=True)
    thread.start()
    return thread


def test_unchanged_handlers_are_kept(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("one", "two"), runner=runner)
    for _reload in range(50):
        replace(handlers, "one", "two")

    handlers.close()
    assert noting.events == ["built one", "built two", "closed one", "closed two"]


def test_only_what_changed_is_replaced(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("one", "two"), runner=runner)
    handlers.use(handlers.load([RouteSettings(name="all", handlers=(*of("two"), *of("three")))]))

    wait_until(lambda: "closed one" in noting.events)
    assert noting.events == ["built one", "built two", "built three", "closed one"]
    assert handlers.targets == [Target("all", "two"), Target("all", "three")]


def of(label: str) -> tuple[HandlerSettings, ...]:
    return routes(label)[0].handlers


@pytest.mark.parametrize(
    "changed", [{"label": "other"}, {"extra": 1}], ids=["another-value", "another-option"]
)
def test_changed_options_replace_a_handler(
    noting: Any, runner: CoroutineRunner, changed: dict[str, Any]
) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    replace(handlers, "one", **changed)

    wait_until(lambda: "closed one" in noting.events)
    handlers.bind(Target("all", "one"))(a_job_result())
    assert noting.events[-1] == f"returned {changed.get('label', 'one')}"


def test_a_changed_file_replaces_the_handler_that_read_it(
    noting: Any, runner: CoroutineRunner, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("testKeySecret")
    handlers = Handlers(routes("one", secret_file=str(secret)), runner=runner)
    replace(handlers, "one", secret_file=str(secret))
    assert noting.events == ["built one"]

    new = tmp_path / "new"
    new.write_text("testKeySecret2")
    new.replace(secret)
    replace(handlers, "one", secret_file=str(secret))
    wait_until(lambda: "closed one" in noting.events)
    assert noting.events == ["built one", "built one", "closed one"]


def test_a_replaced_handler_is_closed_when_its_running_call_returns(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_return.clear()
    handlers = Handlers(routes("one"), runner=runner)
    call = call_in_thread(handlers)
    assert noting.began.wait(30)
    replace(handlers, "two")
    assert noting.events == ["built one", "built two"]

    noting.may_return.set()
    call.join(30)
    wait_until(lambda: "closed one" in noting.events)
    assert noting.events == ["built one", "built two", "returned one", "closed one"]


def test_a_handler_in_use_stays_open_between_calls(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    for _call in range(2):
        handlers.bind(Target("all", "one"))(a_job_result())

    assert noting.events == ["built one", "returned one", "returned one"]


def test_a_call_that_was_bound_before_a_reload_goes_to_the_new_handler(
    noting: Any, runner: CoroutineRunner
) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    run = handlers.bind(Target("all", "one"))
    replace(handlers, "one", label="successor")
    wait_until(lambda: "closed one" in noting.events)

    run(a_job_result())
    assert noting.events[-1] == "returned successor"


def test_a_call_to_a_removed_handler_is_retried_and_spends_no_attempt(
    noting: Any, runner: CoroutineRunner
) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    run = handlers.bind(Target("all", "one"))
    replace(handlers, "two")
    wait_until(lambda: "closed one" in noting.events)

    with pytest.raises(Unavailable, match="removed"):
        run(a_job_result())
    assert "returned one" not in noting.events


def test_close_does_not_wait_for_calls_and_happens_once(noting: Any, runner: CoroutineRunner) -> None:
    noting.may_return.clear()
    handlers = Handlers(routes("one"), runner=runner)
    call = call_in_thread(handlers)
    assert noting.began.wait(30)
    handlers.close()
    assert noting.events == ["built one", "closed one"]

    noting.may_return.set()
    call.join(30)
    handlers.close()
    assert noting.events == ["built one", "closed one", "returned one"]


def test_a_close_that_hangs_holds_up_neither_a_reload_nor_a_worker(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_close.clear()
    handlers = Handlers(routes("idle", "busy"), runner=runner)
    noting.may_return.clear()
    call = call_in_thread(handlers, "busy")
    assert noting.began.wait(30)
    replace(handlers, "new")
    noting.may_return.set()

    call.join(30)
    assert not call.is_alive()
    assert [event for event in noting.events if event.startswith("closed")] == []


def test_what_one_close_raises_does_not_keep_the_others_open(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("exits", "two"), runner=runner)
    with capture_logs() as logs:
        handlers.close()

    assert noting.events[-2:] == ["closed exits", "closed two"]
    assert [(entry["event"], entry["handler"]) for entry in logs] == [("handler.close_failed", "exits")]


def test_handlers_that_were_loaded_beside_one_that_fails_are_closed(
    noting: Any, runner: CoroutineRunner
) -> None:
    with pytest.raises(SettingsError, match="broken on purpose"):
        Handlers(routes("one", "broken", "three"), runner=runner)

    assert sorted(noting.events) == ["built one", "built three", "closed one", "closed three"]


def test_a_reload_that_fails_closes_only_what_it_loaded(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    with pytest.raises(SettingsError, match="broken on purpose"):
        handlers.load(routes("one", "two", "broken"))

    handlers.bind(Target("all", "one"))(a_job_result())
    assert noting.events == ["built one", "built two", "closed two", "returned one"]


def test_many_replacements_leave_one_handler(noting: Any, runner: CoroutineRunner) -> None:
    handlers = Handlers(routes("one"), runner=runner)
    for number in range(50):
        replace(handlers, "one", extra=number)

    wait_until(lambda: noting.events.count("closed one") == 50)
    handlers.close()
    assert noting.events.count("closed one") == noting.events.count("built one") == 51


def test_at_the_end_replaced_handlers_are_closed_even_under_their_calls(
    noting: Any, runner: CoroutineRunner
) -> None:
    noting.may_return.clear()
    handlers = Handlers(routes("first"), runner=runner)
    call_in_thread(handlers, "first")
    assert noting.began.wait(30)
    replace(handlers, "second")

    handlers.close()
    assert noting.events[-2:] == ["closed first", "closed second"]


def test_packages_are_searched_once_for_all_handlers(
    noting: Any, runner: CoroutineRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = []

    def search(**selection: str) -> Any:
        searches.append(selection)
        return entry_points(**selection)

    monkeypatch.setattr("listener.dispatch.handler_loader.entry_points", search)
    Handlers(routes("one", "two", "three"), runner=runner)

    assert len(searches) == 1
