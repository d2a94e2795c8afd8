"""The pages name every setting, event, metric, error code and command that exists, and no other."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args

import click
import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from listener.aliyun.mps_error_codes import TABLE
from listener.cli import main
from listener.core.check_result import CheckKind
from listener.core.errors import FailureKind, StoreFailureKind
from listener.core.exit_codes import ExitCode
from listener.core.model import Target
from listener.emulator import Emulator
from listener.emulator.faults import Fault as EmulatorFault
from listener.emulator.faults import FaultKind
from listener.runtime.metrics import Metrics
from listener.settings.sections import Settings
from tests.support import ROOT
from tests.support.cases import each_case

SOURCES = sorted([*(ROOT / "listener").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")])
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = "https://github.com/mns-listener/mns-listener/blob/main/"
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def rows(text: str, *, columns: int) -> list[list[str]]:
    """The cells of all table rows with that many columns whose first cell is code, without the backticks."""
    lines = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    cells = [re.split(r" *\| *", line) for line in lines]
    return [[cell.strip("`") for cell in row] for row in cells if len(row) == columns]


@cache
def documented_settings() -> dict[str, list[str]]:
    return {row[0]: row[1:3] for row in rows(page("settings.md"), columns=4)}


def settings_of(
    model: type[BaseModel],
    path: str = "",
    variable: str = "MNS_LISTENER_",
    seen: frozenset[type] = frozenset(),
) -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting as (path, variable, field). A section that occurs a second time is one setting there."""
    known = set(seen)
    for name, field in model.model_fields.items():
        there, then = f"{path}{name}", f"{variable}{name.upper()}"
        inner, optional = section_in(field.annotation)
        if inner is None or optional or inner in known:
            yield there, then, field
            continue
        known.add(inner)
        many = get_args(field.annotation)
        place = ("[]", "__0") if many[-1:] == (Ellipsis,) else (".NAME", "__NAME") if many else ("", "")
        yield from settings_of(inner, f"{there}{place[0]}.", f"{then}{place[1]}__", frozenset(known))


def section_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section inside an annotation, and whether it may be None."""
    parts = [annotation, *get_args(annotation)]
    section = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
    return section, type(None) in parts


SETTINGS = list(settings_of(Settings))


@each_case(("path", "variable", "field"), [pytest.param(*setting, id=setting[0]) for setting in SETTINGS])
def test_every_setting_is_documented_with_its_default_and_its_variable(
    path: str, variable: str, field: FieldInfo
) -> None:
    default, documented_variable = documented_settings()[path]

    assert documented_variable == variable
    if field.is_required() or field.default is None:
        assert default == ("required" if field.is_required() else "none")
    else:
        checked = TypeAdapter(Annotated[field.annotation, *field.metadata, "as the model has it"])
        assert checked.validate_python(tomllib.loads(f"value = {default}")["value"]) == field.default


def test_no_setting_is_documented_that_is_none() -> None:
    assert set(documented_settings()) - {path for path, _, _ in SETTINGS} == set()


def events_in(path: Path) -> Iterator[str]:
    """Constants that are logged, or assigned to a variable that is."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        logged = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in LEVELS and node.args
        chosen = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "event"
        for inner in ast.walk(node) if logged or chosen else ():
            if isinstance(inner, ast.Constant) and re.fullmatch(r"[a-z]+\.[a-z_]+", str(inner.value)):
                yield str(inner.value)


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    table = page("operations.md").split("| event |")[1].split("\n\n")[0]
    documented = re.findall(r"`([a-z]+\.[a-z_]+)`", re.sub(r"\|[^|]*\|[^|]*\|$", "", table, flags=re.M))
    logged = {event for path in SOURCES if "emulator" not in path.parts for event in events_in(path)}

    assert set(documented) == logged


def test_every_metric_is_documented_with_its_labels_and_no_other() -> None:
    documented = {
        name: labels for name, labels, _ in rows(page("operations.md"), columns=3) if "mns_l" in name
    }
    names = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
    }

    assert set(documented) == names
    for name, labels in documented.items():
        assert labels_of(name) == {label for label in labels.split(", ") if label}


def test_every_value_of_a_metrics_label_is_documented() -> None:
    lines = dict(re.findall(r"^\| `(mns_listener_\w+)` (.*)$", page("operations.md"), re.MULTILINE))
    metrics = Metrics()
    metrics.expect(queues=["a queue"], targets=[Target("a route", "a handler")])
    values = {
        (sample.name, value)
        for metric in metrics.registry.collect()
        for sample in metric.samples
        for label, value in sample.labels.items()
        if label in ("result", "kind", "outcome", "direction", "source") and sample.name in lines
    }

    assert len(values) > 30
    assert [(name, value) for name, value in sorted(values) if f"`{value}`" not in lines[name]] == []


def labels_of(name: str) -> set[str]:
    collector: Any = Metrics().registry._names_to_collectors[name]
    described = collector.describe()[0]
    return set(getattr(described, "_labelnames", ()) or getattr(collector, "_labelnames", ()))


def test_every_exit_status_is_documented() -> None:
    wanted = {str(code.value) for code in ExitCode}
    for text in (page("operations.md"), (ROOT / "README.md").read_text("utf-8")):
        table = text.split("| exit status |")[1].split("\n\n")[0]
        assert set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == wanted


def test_every_error_code_of_mps_is_documented_with_its_action_and_no_other() -> None:
    documented = {code: action for code, action, _ in rows(page("mps.md"), columns=3)}

    assert {code: documented.get(code) for code in TABLE} == {
        code: str(v.action) for code, v in TABLE.items()
    }


def test_every_fault_of_a_queue_is_documented() -> None:
    assert [kind for kind in FailureKind if f"`{kind}`" not in page("mns.md")] == []


def test_every_failure_of_the_store_is_documented() -> None:
    assert [kind for kind in StoreFailureKind if f"`{kind}`" not in page("operations.md")] == []


def emulated_behaviour() -> list[list[str]]:
    """The rows of all tables of the emulator's page that end in a column of tests."""
    tables = re.findall(r"^\| .+ \| test \|\n\|[-|]+\n((?:\|.+\n)+)", page("emulator.md"), re.MULTILINE)
    return [re.split(r" \| ", line.strip("| ")) for table in tables for line in table.splitlines()]


def test_every_operation_of_the_emulator_is_documented_and_no_other() -> None:
    emulator = Emulator()
    documented = [name for row in emulated_behaviour() for name in re.findall(r"`([A-Z]\w+)`", row[0])]

    operations = {*emulator.mns.operations, *emulator.mns_open.operations, *emulator.mps.operations}
    assert sorted(set(documented) - {"TimeArray", "MNSMessageResult", "TenantRateLimitPolicy"}) == sorted(
        operations
    )


def test_every_operation_of_the_openapi_of_mns_is_in_its_own_section() -> None:
    section = page("emulator.md").split("## The OpenAPI of MNS\n")[1].split("\n## ")[0]

    assert {name for name in Emulator().mns_open.operations if f"`{name}`" not in section} == set()


def test_every_behaviour_of_the_emulator_names_its_source_and_tests_that_exist() -> None:
    behaviour = emulated_behaviour()
    named = {name for row in behaviour for name in re.findall(r"`(test_\w+)`", row[3])}

    assert len(named) > 50
    assert [
        row
        for row in behaviour
        if len(row) != 4 or not re.fullmatch(r"[dsi](: .+)?(, [dsi](: .+)?)*|\u2013", row[2])
    ] == []
    assert [row for row in behaviour if "`test_" not in row[3]] == []
    assert named - written_tests() == set()


def test_every_kind_and_key_of_the_emulators_faults_is_documented() -> None:
    text = page("emulator.md").split("## Faults")[1]
    words = set(re.findall(r"`([\w-]+)`", text))

    assert [kind for kind in FaultKind if kind not in words] == []
    assert [each.name for each in fields(EmulatorFault) if each.name not in words] == []


def test_every_check_is_documented_with_its_advice_and_no_other() -> None:
    section = page("operations.md").split("## Checking before a start")[1].split("\n## ")[0]
    documented = rows(section, columns=3)

    assert [name for name, _, _ in documented] == list(CheckKind)
    assert all(advice for _, _, advice in documented)


def command_lines(text: str) -> set[str]:
    """What follows ``mns-listener`` wherever a page shows it as code; continued lines are joined."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    shell = "\n".join(blocks).replace("\\\n", " ")
    inline = re.findall(r"`mns-listener ([^`]+)`", text)
    return {*inline, *re.findall(r"(?:^|[ (])mns-listener ([^\n|&;#]+)", shell, re.MULTILINE)}


def unknown_in(line: str) -> list[str]:
    """The words of a command line that name no command, and the options that it does not have."""
    words = line.split()
    command: click.Command = main
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return words[:1]
        command, words = found, words[1:]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    return [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in options]


LINES = sorted({line for page in PAGES for line in command_lines(page.read_text("utf-8"))})


def test_every_command_and_option_that_the_pages_use_exists() -> None:
    assert len(LINES) > 40
    assert {line: unknown for line in LINES if (unknown := unknown_in(line))} == {}


def links_of(path: Path) -> Iterator[tuple[str, str]]:
    """The links of a page to other files of the project, inline and by reference, as (target, where it leads)."""
    for inline, reference in re.findall(
        r"\]\(([^)#]+)|^\[[^\]]+\]: ([^\s#]+)", path.read_text("utf-8"), re.MULTILINE
    ):
        link = inline or reference
        if link.startswith(PROJECT):
            yield link, str(ROOT / link.removeprefix(PROJECT))
        elif not link.startswith("https://"):
            yield link, str(path.parent / link)


def test_every_link_leads_somewhere() -> None:
    links = [(each.name, link, target) for each in PAGES for link, target in links_of(each)]

    assert len(links) > 30
    assert [f"{name}: {link}" for name, link, target in links if not Path(target).exists()] == []


@cache
def written_tests() -> set[str]:
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
    }


def test_every_test_that_the_promises_name_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", page("reliability.md")))

    assert len(named) > 30
    assert named - written_tests() == set()


POINTS = re.findall(r"^\| (?!---|point)(.+?) \| (.+) \|$", page("conformance.md"), re.MULTILINE)


def test_every_point_of_the_vendors_page_names_what_keeps_it() -> None:
    kept_by = [(point, re.findall(r"`([^`]+)`", cell)) for point, cell in POINTS]
    named = {name for _, names in kept_by for name in names}
    tests = {name for name in named if name.startswith("test_")}
    files = {name for name in named - tests if not (ROOT / name).is_file()}

    assert len(kept_by) > 60
    assert [point for point, names in kept_by if not names] == []
    assert (tests - written_tests(), files) == (set(), set())


@each_case(
    "parameter",
    [
        *("FunctionName", "ModelId", "JobParams", "ScheduleParams", "NotifyUrl", "UserData", "PipelineId"),
        *("Input", "Output"),
    ],
)
def test_every_parameter_of_the_call_has_points(parameter: str) -> None:
    assert f"\n## {parameter}\n\n| point | kept by |" in page("conformance.md")
