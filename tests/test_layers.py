"""Each layer imports only itself and those above it, and no function is a message's whole life."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTENER = ROOT / "listener"

#: From the words, which know nothing, to the edge, which knows everything. A folder stands for all in it.
LAYERS = [
    {"core", "errors", "produced", "model", "interfaces", "clock"},
    {
        *("formats", "rules", "settings"),
        *("durations", "text", "jsontext", "xmltext", "user_data", "decode", "routing", "retry", "functions"),
        *("params", "outputs", "errorcodes", "environment", "config", "request"),
    },
    {
        "jobs",
        "runtime",
        "quiet",
        "rate",
        "holdings",
        "intake",
        "crew",
        "dispatch",
        "submission",
        "bulk",
        "reconcile",
        "enrich",
    },
    {
        "aliyun",
        "faults",
        "credentials",
        "mns_connection",
        "mns",
        "mps",
        "store",
        "settings_file",
        "plugins",
        "process",
        "logs",
        "metrics",
    },
    {"http", "daemon", "client", "api", "app", "accounts", "emulator", "demo", "cli", "__main__"},
]
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
#: The package itself only re-exports words to handlers.
DEPTH["listener"] = 0
LONGEST_FUNCTION = 45

MODULES = sorted(LISTENER.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]
#: A migration is a list of statements, and is never edited again.
MIGRATIONS = LISTENER / "store" / "migrations" / "versions"


def part_of(path: Path) -> str:
    """The name by which LAYERS knows a module."""
    first = path.relative_to(LISTENER).parts[0].removesuffix(".py")
    return "listener" if first == "__init__" else first


def imported_by(path: Path) -> Iterator[str]:
    """The full names of everything that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported_by(path: Path) -> Iterator[str]:
    """The parts of the listener that a module imports."""
    for name in imported_by(path):
        first, *rest = name.split(".")
        if first == "listener":
            yield rest[0] if rest and rest[0] in DEPTH else "listener"


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_module_is_in_a_layer(path: Path) -> None:
    assert part_of(path) in DEPTH, f"{path.name} is in no layer; put it into one of LAYERS"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_module_imports_nothing_nearer_the_edge(path: Path) -> None:
    # The package itself hands out the edge's functions, but only to who asks for them.
    own = len(LAYERS) if path == LISTENER / "__init__.py" else DEPTH[part_of(path)]
    assert [part for part in parts_imported_by(path) if DEPTH[part] > own] == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_listener_knows_no_handler(path: Path) -> None:
    assert [name for name in imported_by(path) if name.split(".")[0] in ("handlers", "tests")] == []


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != MIGRATIONS])
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    lengths = {
        f"{node.name}, line {node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for node in functions_of(path)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_engine_reaches_no_network_disk_or_database() -> None:
    foreign = {"sqlalchemy", "mns", "httpx", "alibabacloud_mts20140618", "pathlib", "ssl", "http"}
    above = [path for path in MODULES if DEPTH[part_of(path)] < LAYERS.index(adapters())]
    assert {
        f"{path.name} imports {name}"
        for path in above
        for name in imported_by(path)
        if name.split(".")[0] in foreign
    } <= {"config.py imports pathlib.Path"}  # a type of settings that name files


def adapters() -> set[str]:
    return next(layer for layer in LAYERS if "store" in layer)
