"""What is installed is known exactly: the locks fit the requirements, on every supported Python and machine."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.supply.licences import shipped
from tests.supply.locks import ENTRY, FOLDER, HEADER, LOCKS, declared, locked, locked_versions
from tests.support import ROOT
from tests.support.cases import each_case

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
TARGETS = [
    pytest.param(
        {"python_version": python, "python_full_version": f"{python}.9", "platform_machine": machine}
    )
    for python, machine in itertools.product(PYTHONS, MACHINES)
]
every_lock = each_case("name", LOCKS)


@every_lock
def test_a_lock_has_nothing_but_exact_versions_with_hashes(name: str) -> None:
    """An address would tie it to one registry; a line without a hash would be installed unverified."""
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    rest = ENTRY.sub("", text)

    assert rest == HEADER
    assert [str(each) for each in locked(name) if not re.fullmatch(r"==[\w.!+]+", str(each.specifier))] == []


def test_every_lock_is_made_by_the_command_and_no_other_is_there() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(LOCKS)


@every_lock
@each_case("target", TARGETS, ids=lambda target: "-".join(target.values()))
def test_a_lock_satisfies_the_requirements_everywhere(name: str, target: dict[str, str]) -> None:
    """Fails if setup.cfg is changed without `make constraints`."""
    versions = locked_versions(name, target)
    wanted = LOCKS[name].requirements

    assert wanted
    assert [
        str(each)
        for each in wanted
        if canonicalize_name(each.name) not in versions
        or not each.specifier.contains(versions[canonicalize_name(each.name)])
    ] == []


def test_the_demo_installs_what_the_image_contains_and_no_tools() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert re.findall(r"-r container/locks/(\w+)\.txt", planned) == ["build", "runtime"]
    assert re.findall(r"^.*mns-listener demo$", planned, re.MULTILINE) == [".venv-demo/bin/mns-listener demo"]


def test_the_image_is_locked_down_to_the_last_package() -> None:
    assert shipped() - set(locked_versions("runtime")) == set()


@each_case(("name", "other"), [(name, other) for name, lock in LOCKS.items() for other in lock.agrees_with])
@each_case("target", TARGETS, ids=lambda target: "-".join(target.values()))
def test_tests_run_against_the_versions_that_are_shipped(
    name: str, other: str, target: dict[str, str]
) -> None:
    these, those = locked_versions(name, target), locked_versions(other, target)

    assert {each: these[each] for each in these.keys() & those.keys() if these[each] != those[each]} == {}


def imported_packages(path: Path) -> set[str]:
    """The top-level names that a module imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found


def test_every_package_that_is_imported_is_a_requirement() -> None:
    """Fails if a package is there only because another one requires it."""
    distributions = metadata.packages_distributions()
    paths = [*(ROOT / "listener").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]
    names = {name for path in paths for name in imported_packages(path)}
    foreign = names - set(sys.stdlib_module_names) - {"listener"}
    required = {
        canonicalize_name(each.name) for extra in ("", "postgres", "otel") for each in declared(extra)
    }
    required.add("pydantic-core")  # a part of pydantic, which requires exactly one version of it
    required.add("pytest")  # which is there when it loads listener.pytest_plugin, and only then

    assert len(foreign) > 12
    assert {
        name
        for name in foreign
        if not {canonicalize_name(each) for each in distributions.get(name, ())} & required
    } == set()


#: Packages of whose internals the code makes use; a new release of these may break it.
INTERNALS = {"aliyun-mns-sdk", "SQLAlchemy", "uvicorn"}


def test_only_packages_whose_internals_are_used_have_an_upper_bound() -> None:
    bounded = {each.name for each in declared() if "<" in str(each.specifier).replace("<=", "<")}

    assert bounded == INTERNALS
