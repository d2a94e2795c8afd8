"""The rules of import, and the length of functions: each folder imports only what its rule names."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.import_rules import ALLOWED, WITHOUT_IO

LISTENER = ROOT / "listener"

#: Other people's packages that these folders may use; none of them does I/O when it is called as it is here.
PURE_PACKAGES = {"pydantic", "pydantic_core", "structlog", "tenacity", "typing_extensions"}
#: Modules of the standard library by which a program reaches the outside.
IO_MODULES = {
    *(
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "glob",
        "fileinput",
        "fcntl",
        "mmap",
        "dbm",
        "shelve",
        "sqlite3",
    ),
    *(
        "socket",
        "socketserver",
        "ssl",
        "select",
        "selectors",
        "http",
        "ftplib",
        "smtplib",
        "imaplib",
        "poplib",
    ),
    *("telnetlib", "xmlrpc", "urllib.request", "subprocess", "multiprocessing", "signal", "pty", "resource"),
}
MAX_FUNCTION_LINES = 45
#: The only module that may ask structlog for a logger.
LOGGERS = "listener.core.log_backends"

MODULES = sorted(LISTENER.rglob("*.py"))
#: A migration is a list of statements, and is never edited again.
MIGRATIONS = LISTENER / "store" / "migrations" / "versions"
#: Each rule is one test for all modules, and all of them run in one process, which parses each module once: a test for
#: each rule and module made a quarter of the suite.
pytestmark = pytest.mark.xdist_group("layers")


def name_of(path: Path) -> str:
    """``listener.core.model`` for listener/core/model.py; a package goes by its own name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_NAMES = {name_of(path) for path in MODULES}


def folder_of(name: str) -> str:
    """The part of ``listener`` that a module belongs to; "" for the package itself."""
    return name.split(".")[1] if "." in name else ""


@pytest.fixture(autouse=True, scope="module")
def _trees() -> Iterator[None]:
    """Half of the time of parsing goes into looking for garbage among the trees: drop them all at the end instead."""
    gc.disable()
    yield
    tree_of.cache_clear()
    nodes_of.cache_clear()
    gc.enable()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def nodes_of(path: Path) -> Sequence[ast.AST]:
    return list(ast.walk(tree_of(path)))


def statements_of(path: Path) -> Iterator[ast.AST]:
    """All statements, also within others: a tenth of the nodes of a module."""
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, part, ())


@cache
def imported_by(path: Path) -> Sequence[str]:
    """The full names of everything that a module imports, also inside functions."""
    return list(_imported_by(path))


def _imported_by(path: Path) -> Iterator[str]:
    for node in statements_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours_imported_by(path: Path) -> set[str]:
    """Modules of the listener that a module imports; a name within a module counts as that module."""
    found = set()
    for name in imported_by(path):
        while name not in MODULE_NAMES and "." in name:
            name = name.rpartition(".")[0]
        if name in MODULE_NAMES and name != name_of(path):
            found.add(name)
    return found


def folders_imported_by(path: Path) -> set[str]:
    return {folder_of(name) for name in ours_imported_by(path)} - {"", folder_of(name_of(path))}


def reaches_outside(name: str) -> bool:
    """Whether an import brings I/O: a module of the standard library for it, or an unknown package."""
    top = name.split(".")[0]
    if top == "listener":
        return False
    if top in sys.stdlib_module_names:
        return any(name == module or name.startswith(f"{module}.") for module in IO_MODULES)
    return top not in PURE_PACKAGES


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in statements_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def breaches(
    found_in: Callable[[Path], Collection[object]], paths: Iterable[Path] = MODULES
) -> dict[str, list[object]]:
    """What a rule finds wrong, by module; modules that keep it are left out."""
    found = {str(path.relative_to(ROOT)): list(found_in(path)) for path in paths}
    assert found, "the rule was applied to no module"
    return {name: faults for name, faults in found.items() if faults}


def test_a_module_imports_only_what_the_rule_of_its_folder_allows() -> None:
    # The package itself hands out names of the core, and the client's to whoever asks.
    allowed = {**ALLOWED, "": {"core", "client", "async_client"}}

    assert breaches(lambda path: folders_imported_by(path) - set(allowed[folder_of(name_of(path))])) == {}


def test_every_rule_is_about_a_folder_that_exists() -> None:
    assert {folder_of(name) for name in MODULE_NAMES} - {""} == set(ALLOWED)


def test_folders_do_not_import_each_other_in_a_circle() -> None:
    order = list(TopologicalSorter(ALLOWED).static_order())

    assert order[0] == "core"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    # The package's own lazy import of the client is left out: it happens when a submitter asks for it.
    graph = {
        name_of(path): ours_imported_by(path) - {"listener"}
        for path in MODULES
        if name_of(path) != "listener"
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_listener_knows_no_handler_and_no_test() -> None:
    def known(path: Path) -> list[str]:
        foreign = [name for name in imported_by(path) if name.split(".")[0] in ("handlers", "tests")]
        return foreign + [name for name in imported_by(path) if name.startswith("listener.handlers")]

    assert breaches(known) == {}


def test_what_decides_reaches_no_network_disk_or_database() -> None:
    def reached(path: Path) -> list[str]:
        opened = [
            f"open() in line {node.lineno}"
            for node in nodes_of(path)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
        ]
        return opened + [name for name in imported_by(path) if reaches_outside(name)]

    assert breaches(reached, [path for path in MODULES if folder_of(name_of(path)) in WITHOUT_IO]) == {}


@each_case(
    ("name", "outside"),
    [
        pytest.param("os.environ", True, id="a-name-in-a-module"),
        pytest.param("urllib.request.urlopen", True, id="a-submodule"),
        pytest.param("urllib.parse.urlsplit", False, id="its-pure-sibling"),
        pytest.param("sqlalchemy.select", True, id="a-package-that-is-not-listed"),
        pytest.param("structlog.get_logger", False, id="a-package-that-is"),
        pytest.param("operator.itemgetter", False, id="not-just-the-same-first-letters"),
        pytest.param("listener.store.claims", False, id="ours-has-its-own-rule"),
    ],
)
def test_the_rule_about_io_distinguishes_imports(name: str, outside: bool) -> None:
    assert reaches_outside(name) is outside


def test_no_function_is_longer_than_a_screen() -> None:
    def long_functions(path: Path) -> list[str]:
        return [
            f"{node.name}, {length} lines"
            for node in functions_of(path)
            if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
        ]

    assert breaches(long_functions, [path for path in MODULES if path.parent != MIGRATIONS]) == {}


def test_a_module_takes_its_logger_from_core() -> None:
    """structlog's own prints to standard output, which belongs to whoever uses the listener as a library."""

    def taken(path: Path) -> list[int]:
        named = [node for node in nodes_of(path) if isinstance(node, ast.Attribute)]
        return [node.lineno for node in named if node.attr == "get_logger"]

    assert breaches(taken, [path for path in MODULES if name_of(path) != LOGGERS]) == {}


def test_only_the_settings_say_how_results_and_jobs_are_matched() -> None:
    """Without their verification, an operator's action would believe what is forged in a stored result."""

    def made(path: Path) -> list[int]:
        called = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
        return [node.lineno for node in called if ast.unparse(node.func).split(".")[-1] == "Correlation"]

    allowed = ("listener.settings.sections", "listener.rules.routing")
    assert breaches(made, [path for path in MODULES if name_of(path) not in allowed]) == {}


def test_a_command_imports_nothing_in_its_functions() -> None:
    """What only some commands need is imported at the top, with ``lazy_imports``."""
    hidden = [
        f"{name_of(path)}, line {node.lineno}"
        for path in MODULES
        if folder_of(name_of(path)) == "cli"
        for function in functions_of(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_an_exit_code_is_one_of_the_list() -> None:
    """Scripts rely on them, so all are in ``listener/core/exit_codes.py``."""

    def numbers(path: Path) -> list[int]:
        return [
            node.lineno
            for node in nodes_of(path)
            for value in (*exits(node), *assigned_exit_codes(node))
            if isinstance(value, ast.Constant) and isinstance(value.value, int)
        ]

    assert breaches(numbers, [path for path in MODULES if path.stem != "exit_codes"]) == {}


def exits(node: ast.AST) -> Sequence[ast.expr]:
    """What is given to ``sys.exit``, ``ctx.exit`` and the like."""
    called = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("exit", "_exit")
    return node.args if called and isinstance(node, ast.Call) else ()


def assigned_exit_codes(node: ast.AST) -> Sequence[ast.expr]:
    if isinstance(node, ast.Assign):
        named = [name.id for name in node.targets if isinstance(name, ast.Name)]
    else:
        named = (
            [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
        )
    value = getattr(node, "value", None)
    return (value,) if "exit_code" in named and value else ()


TESTS = ROOT / "tests"


def test_no_module_imports_a_test_module() -> None:
    def test_modules(path: Path) -> list[str]:
        ours = [name for name in imported_by(path) if name.startswith("tests.")]
        parts = [part for name in ours for part in name.split(".")[:-1]]
        return [part for part in parts if part.startswith("test_") or part == "conftest"]

    assert breaches(test_modules, TESTS.rglob("*.py")) == {}


def test_unit_tests_mirror_the_tree() -> None:
    folders = {path.name for path in (TESTS / "unit").iterdir() if path.is_dir() and path.name[0] != "_"}

    assert folders - {"handlers"} <= set(ALLOWED)
    assert [path.name for path in (TESTS / "unit").glob("test_*.py")] == []
