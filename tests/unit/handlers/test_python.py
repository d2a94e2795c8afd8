from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from listener.handlers.python import python

from listener import JobResult
from listener.core.errors import SettingsError
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.handler_loader import load
from tests.support.results import a_job_result

SEEN: list[str] = []


async def later(result: JobResult) -> None:
    SEEN.append(result.job_id)


class Inner:
    def method(self, result: JobResult) -> None:
        SEEN.append(result.job_id)


def two(result: JobResult, other: object) -> None:
    raise AssertionError("never called")


inner = Inner()
bound = partial(two, other=None)
NUMBER = 5


def test_async_function_is_run() -> None:
    SEEN.clear()
    runner = CoroutineRunner()

    runner.run(python(callable=f"{__name__}:later"), a_job_result(job_id="one"))

    runner.close()
    assert SEEN == ["one"]


def test_attribute_may_be_a_method_of_an_instance() -> None:
    SEEN.clear()

    python(callable=f"{__name__}:inner.method")(a_job_result(job_id="one"))

    assert SEEN == ["one"]


def test_bound_arguments_count_as_given() -> None:
    found: Any = python(callable=f"{__name__}:bound")

    assert found is bound


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param(
            "no_such_module_anywhere:f", "No module named 'no_such_module_anywhere'", id="no-module"
        ),
        pytest.param(f"{__name__}:nothing", "nothing", id="no-attribute"),
        pytest.param("just.a.module", "is not valid", id="no-colon"),
        pytest.param(f"{__name__}:Inner", "is a class", id="class"),
        pytest.param(f"{__name__}:NUMBER", "is not callable", id="no-callable"),
        pytest.param(f"{__name__}:two", "exactly one argument", id="two-arguments"),
    ],
)
def test_what_can_not_be_called_is_refused_at_start_by_name(name: str, reason: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load("python", {"callable": name}, where="routes.a.handlers[0]")

    assert reason in str(refusal.value)
    assert repr(name) in str(refusal.value)
