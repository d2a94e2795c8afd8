"""What is built from this tree: nothing is missing, and a foreign package cannot get in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path, PurePosixPath

import pytest

from listener import __version__
from tests.support.packages import build

ROOT = Path(__file__).parents[1]
#: Never part of the project: made by tools, and git-ignored.
GENERATED = {
    *(".git", ".venv", ".venv-demo", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    *("__pycache__", "build", "dist", "site", "mns_listener.egg-info"),
}
#: What setuptools adds to an sdist.
ADDED_BY_SETUPTOOLS = {"PKG-INFO"}


def project_files() -> set[str]:
    """Every tracked file; in an unpacked sdist, which has no repository, every file that no tool made."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not GENERATED & set(path.parts)} - ADDED_BY_SETUPTOOLS


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: in the tree itself, a stale egg-info would add files that the manifest does not name."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in project_files():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy)
    return build("build_sdist", folder / "source", folder / "dist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the unpacked sdist, as a package index's users would do it."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder / "dist")


@pytest.fixture(scope="module")
def unpacked_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def packages_in_tree() -> set[str]:
    """The folders with an ``__init__.py``, by the names under which they are installed."""
    inits = [*(ROOT / "listener").rglob("__init__.py"), ROOT / "handlers" / "__init__.py"]
    names = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    return {"listener.handlers" if name == "handlers" else name for name in names}


def test_setup_cfg_names_every_package_and_no_other() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")

    assert set(setup["options"]["packages"].split()) == packages_in_tree()


def test_the_sdist_holds_every_file_of_the_project_and_no_other(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(each.name) for each in archive if each.isfile()}
    held = {str(PurePosixPath(*name.parts[1:])) for name in names}
    egg_info = {name for name in held if name.startswith("mns_listener.egg-info/")}

    assert held - egg_info - ADDED_BY_SETUPTOOLS == project_files()


def test_the_wheel_holds_every_module_and_data_file_below_listener(unpacked_wheel: Path) -> None:
    installed = {
        path.relative_to(unpacked_wheel).as_posix()
        for path in unpacked_wheel.rglob("*")
        if path.is_file()
        and ".dist-info" not in path.parts[len(unpacked_wheel.parts)]
        and "__pycache__" not in path.parts  # from tests that import the unpacked wheel
    }
    packaged = {name for name in project_files() if name.startswith(("listener/", "handlers/"))}

    assert installed == {re.sub(r"^handlers/", "listener/handlers/", name) for name in packaged}


def test_the_version_is_written_once(sdist: Path, wheel: Path) -> None:
    assert sdist.name == f"mns_listener-{__version__}.tar.gz"
    assert wheel.name.startswith(f"mns_listener-{__version__}-")
    elsewhere = [
        name for name in ("setup.cfg", "pyproject.toml") if __version__ in (ROOT / name).read_text("utf-8")
    ]
    assert elsewhere == []


def test_every_link_of_the_readme_works_on_a_package_index() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)

    assert len(links) > 15
    assert [link for pair in links for link in pair if link and not link.startswith(("https://", "#"))] == []


#: Loads each built-in handler and prints where its module comes from.
LOAD_ALL = """
import sys, listener
from listener.dispatch.handler_loader import load
options = {
    "command": {"argv": ["true"]},
    "jsonl": {"path": "results.jsonl"},
    "log": {},
    "python": {"callable": "json:dumps"},
    "webhook": {"url": "http://127.0.0.1:9/"},
}
print(listener.__file__)
for name, given in options.items():
    load(name, given, where="x")
    print(sys.modules[f"listener.handlers.{name}"].__file__)
assert "handlers" not in sys.modules
"""


def foreign_package(folder: Path) -> Path:
    """A package called ``handlers``, as a user's own project may well have one."""
    package = folder / "foreign" / "handlers"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this is the package of somebody else')\n")
    for name in ("command", "jsonl", "log", "python", "webhook"):
        (package / f"{name}.py").write_text("raise ImportError('this is the module of somebody else')\n")
    return package.parent


def load_all(folder: Path, *path: Path) -> list[str]:
    """Run LOAD_ALL in a child process whose module path begins with ``path``; the lines that it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_foreign_package_called_handlers_does_no_harm_to_a_wheel(
    tmp_path: Path, unpacked_wheel: Path
) -> None:
    """Fails if the built-in handlers are installed as ``handlers``: an entry point ``handlers.log:log`` then imports
    the foreign package, which comes first on the path."""
    loaded = load_all(tmp_path, foreign_package(tmp_path), unpacked_wheel)

    assert len(loaded) == 6
    assert [path for path in loaded if not Path(path).is_relative_to(unpacked_wheel / "listener")] == []


def test_a_foreign_package_called_handlers_does_no_harm_to_the_installation_under_test(
    tmp_path: Path,
) -> None:
    """The editable one, where ``make test`` runs it; fails for the same reason as above."""
    foreign = foreign_package(tmp_path)

    loaded = load_all(tmp_path, foreign)

    assert len(loaded) == 6
    assert [path for path in loaded if Path(path).is_relative_to(foreign)] == []
