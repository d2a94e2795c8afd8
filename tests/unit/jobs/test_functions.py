"""Functions, their parameters, the emulator and docs/functions.md keep in step."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from listener.cli.submit import submit as command
from listener.core.outputs import Outputs
from listener.emulator.mps import sample_results
from listener.jobs.functions import FUNCTIONS
from listener.jobs.job_params import PARAMS_BY_FUNCTION, ParamSpec, param_specs
from listener.jobs.request import JobRequest
from listener.jobs.request_checks import check
from tests.support import ROOT
from tests.support.cases import each_case

PAGE = (ROOT / "docs" / "functions.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NONE = "–"  # noqa: RUF001 - how the page says that there is nothing


def row(name: str, spec: ParamSpec) -> str:
    default = spec.default or NONE
    kind, valid = spec.constraint.kind, spec.constraint.range or NONE
    return f"| `{name}` | `{spec.key}` | {kind} | {valid} | {default} | {spec.description} |"


def arguments(function: str) -> dict[str, Any]:
    """The example of the page, as the command line reads it."""
    (text,) = re.findall(r"```sh\n(.*?)```", SECTIONS[function], re.DOTALL)
    program, name, *rest = shlex.split(text.replace("\\\n", ""))
    assert (program, name) == ("mns-listener", "submit")
    return command.make_context("submit", rest).params


def test_every_function_has_a_class_and_a_section_and_no_other() -> None:
    assert list(FUNCTIONS) == list(PARAMS_BY_FUNCTION)
    assert list(FUNCTIONS) == list(SECTIONS)


def test_the_emulator_knows_the_same_functions() -> None:
    known = (*sample_results.FUNCTION_NAMES, *sample_results.FUNCTIONS_WITHOUT_RESULT)

    assert sorted(known) == sorted(FUNCTIONS)


@each_case("function", FUNCTIONS)
def test_every_parameter_is_documented_as_it_is_and_no_other(function: str) -> None:
    rows = re.findall(r"^\| `\w+` .*\|$", SECTIONS[function], re.MULTILINE)

    assert rows == [row(name, spec) for name, spec in param_specs(PARAMS_BY_FUNCTION[function]).items()]


@each_case("function", FUNCTIONS)
def test_every_field_that_a_result_fills_is_named(function: str) -> None:
    assert [name for name in FUNCTIONS[function].output_fields if f"`{name}`" not in SECTIONS[function]] == []


def test_every_field_of_the_outputs_is_named() -> None:
    introduction = PAGE.split("\n## ")[0]

    assert [name for name in Outputs.__dataclass_fields__ if f"`{name}`" not in introduction] == []


@each_case("function", FUNCTIONS)
def test_the_command_of_each_function_can_be_submitted(function: str) -> None:
    given = arguments(function)

    request = JobRequest(
        function=given["function"],
        input=given["input_url"],
        output=given["output_url"],
        params=given["params"],
        pipeline="testPipeline",
    )
    assert given["function"] == function
    assert json.loads(given["params"]) == FUNCTIONS[function].example
    assert bool(given["output_url"]) == bool(FUNCTIONS[function].suffix)
    assert check(request) == []


def test_the_python_example_works() -> None:
    exec(PAGE.split("```python\n")[1].split("```")[0], {})

    assert "params.CaptionExtraction(" in PAGE
