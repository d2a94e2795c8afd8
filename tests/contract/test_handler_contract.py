"""What every built-in handler promises, each one loaded as the listener loads it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener import JobResult
from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import available, load, options_of
from tests.support.receiver import Receiver, a_receiver
from tests.support.results import a_job_result

WHERE = "routes.captions.handlers[0]"
TAKEN: list[JobResult] = []


def take(result: JobResult) -> None:
    TAKEN.append(result)


def refuse(result: JobResult) -> None:
    raise LookupError(result.job_id)


@dataclass(slots=True)
class World:
    """What handlers act upon."""

    directory: Path
    receiver: Receiver
    logs: list[Any]

    @property
    def file(self) -> Path:
        return self.directory / "results.jsonl"

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]

    def failing_url(self) -> str:
        self.receiver.status = 500
        return self.receiver.url


@dataclass(frozen=True, slots=True)
class Case:
    """Options with which a handler works, those with which it fails or is refused, and what it has done."""

    works: Callable[[World], dict[str, Any]]
    refused: dict[str, Any]
    job_ids: Callable[[World], list[str]]
    fails: Callable[[World], dict[str, Any]] | None = None


def _shell(script: str) -> dict[str, Any]:
    return {"argv": ["/bin/sh", "-c", script]}


CASES = {
    "command": Case(
        works=lambda world: _shell(f'line=$(cat) && printf "%s\\n" "$line" >> {world.file}'),
        fails=lambda world: _shell("exit 1"),
        refused={"argv": ["no-such-program-anywhere"]},
        job_ids=lambda world: [line["job_id"] for line in world.lines()],
    ),
    "jsonl": Case(
        works=lambda world: {"path": str(world.file)},
        fails=lambda world: {"path": "/dev/full"},
        refused={"path": "/no-such-directory/results.jsonl"},
        job_ids=lambda world: [line["job_id"] for line in world.lines()],
    ),
    "log": Case(
        works=lambda world: {},
        refused={"level": "loud"},
        job_ids=lambda world: [entry["job_id"] for entry in world.logs],
    ),
    "python": Case(
        works=lambda world: {"callable": f"{__name__}:take"},
        fails=lambda world: {"callable": f"{__name__}:refuse"},
        refused={"callable": f"{__name__}:no_such_function"},
        job_ids=lambda world: [result.job_id for result in TAKEN],
    ),
    "webhook": Case(
        works=lambda world: {"url": world.receiver.url},
        fails=lambda world: {"url": world.failing_url()},
        refused={"url": "ftp://example.com"},
        job_ids=lambda world: [json.loads(request.body)["job_id"] for request in world.receiver.requests],
    ),
}
BUILT_IN = sorted(
    name for name, point in available().items() if point.module.startswith("listener.handlers.")
)
#: `pull` calls nothing: applications settle its deliveries.
CALLING = [name for name in BUILT_IN if name != "pull"]
every_handler = pytest.mark.parametrize("name", CALLING)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    TAKEN.clear()
    with a_receiver() as receiver, capture_logs() as logs:
        yield World(tmp_path, receiver, logs)


def test_every_built_in_handler_has_a_case_here() -> None:
    assert sorted(CASES) == CALLING


@every_handler
def test_success_returns_none_and_hands_the_result_on(name: str, world: World) -> None:
    handler = load(name, CASES[name].works(world), where=WHERE)

    assert handler(a_job_result(job_id="one")) is None
    assert CASES[name].job_ids(world) == ["one"]


@every_handler
def test_the_same_result_may_be_redelivered(name: str, world: World) -> None:
    handler = load(name, CASES[name].works(world), where=WHERE)

    handler(a_job_result(job_id="one"))
    handler(a_job_result(job_id="one", attempt=2))

    assert CASES[name].job_ids(world) == ["one", "one"]


@every_handler
def test_eight_threads_may_call_at_once(name: str, world: World) -> None:
    handler = load(name, CASES[name].works(world), where=WHERE)
    start = Barrier(8)
    job_ids = [f"job-{number}" for number in range(8)]

    def call(job_id: str) -> object:
        start.wait()
        return handler(a_job_result(job_id=job_id))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, job_ids)) == [None] * 8
    assert sorted(CASES[name].job_ids(world)) == job_ids


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name in CASES and CASES[name].fails])
def test_what_did_not_work_is_raised(name: str, world: World) -> None:
    options = CASES[name].fails
    assert options is not None
    handler = load(name, options(world), where=WHERE)

    with pytest.raises(Exception, match=r"\S"):
        handler(a_job_result())


@every_handler
def test_close_may_be_called_twice(name: str, world: World) -> None:
    handler = load(name, CASES[name].works(world), where=WHERE)
    handler(a_job_result(job_id="one"))

    close = getattr(handler, "close", lambda: None)

    assert [close(), close()] == [None, None]


@every_handler
def test_options_that_can_not_work_are_refused_at_start_with_their_place(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^routes\.captions\.handlers\[0\]: handler") as refusal:
        load(name, CASES[name].refused, where=WHERE)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_is_a_keyword_with_a_type(name: str) -> None:
    options = options_of(name).values()

    assert [option.name for option in options if option.kind is not inspect.Parameter.KEYWORD_ONLY] == []
    assert [option.name for option in options if option.annotation is inspect.Parameter.empty] == []
