"""The fixtures of pytest work as docs/testing-with-the-emulator.md shows, and cost nothing where none is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from listener.emulator.faults import FaultError
from listener.emulator.testing import MnsEmulator, emulator
from tests.support import ROOT

PAGE = (ROOT / "docs" / "testing-with-the-emulator.md").read_text("utf-8")
SHARED = """
def test_one(mns_emulator_module):
    mns_emulator_module.create_queue("q")

def test_two(mns_emulator_module):
    mns_emulator_module.send("q", "x")
"""


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    modules = {"test_page.py": example, "test_shared.py": SHARED}
    for name, text in modules.items():
        (tmp_path / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "listener.pytest_plugin", "-p", "no:cacheprovider"]

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert f"{example.count('def test_') + 2} passed" in done.stdout


def test_the_plug_in_imports_nothing_before_a_fixture_is_used() -> None:
    program = """
import sys, pytest
before = set(sys.modules)
import listener.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["listener", "listener.pytest_plugin"]


def test_pytest_finds_the_plug_in_of_an_installed_package() -> None:
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")

    assert metadata["options.entry_points"]["pytest11"].strip() == "mns_emulator = listener.pytest_plugin"


def test_what_the_page_lists_exists() -> None:
    with emulator() as it:
        for names in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE):
            for name in re.findall(r"`([a-z_.]+)[(`]", names):
                if not name.startswith("mns_emulator"):
                    assert _member(it, name) is not None, name


def test_the_filter_of_requests_is_checked() -> None:
    with emulator() as it, pytest.raises(TypeError, match="colour"):
        it.requests(colour="red")


def test_what_the_service_or_a_typing_mistake_would_spoil_is_refused() -> None:
    with emulator(queues=("q",)) as it:
        it.send("q", "x")
        it.create_queue("q")  # as it is
        for name, attributes in (("a_b", {}), ("p", {"visibility_timeout": 0}), ("q", {"delay_seconds": 1})):
            with pytest.raises(ValueError, match=f"queue '{name}'"):
                it.create_queue(name, **attributes)
        with pytest.raises(KeyError, match="there is no queue 'p'"):
            it.messages("p")
        with pytest.raises(ValueError, match="stahl"):
            it.faults.happened("stahl")
        with pytest.raises(FaultError, match="'operatoin' is not a key"):
            it.faults.add("stall", operatoin="x")

        assert [each.body for each in it.messages("q")] == ["x"]


def test_options_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="queues"), emulator(queues="orders"):
        pytest.fail("it would have a queue for each letter")


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="fail_rate"), emulator(fail_rate=50):
        pytest.fail("all jobs would fail")


def _member(it: MnsEmulator, path: str) -> object:
    found: object = it
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_the_program_and_the_fixtures_load_only_what_the_extra_names() -> None:
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    extra = {line.split()[0] for line in metadata["options.extras_require"]["emulator"].split("\n") if line}
    # What these depend on.
    inner = {"annotated_types", "anyio", "idna", "pydantic_core", "typing_extensions", "typing_inspection"}
    program = """
import sys, urllib.request
before = set(sys.modules)
import listener.cli.emulator
from listener.emulator.testing import emulator
with emulator(queues=("q",)) as it:
    it.faults.add("stall", operation="SendMessage")
    it.clock.advance(days=1)
    urllib.request.urlopen(it.endpoint + "/_emulator/requests").read()
    urllib.request.urlopen(it.endpoint + "/_emulator/clock", b'{"advance": "1s"}').read()
found = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(found - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = {name for name in done.stdout.split() if not name.startswith(("_", "cython"))}
    assert loaded - inner == extra | {"listener"}
