"""The locks in container/locks: exact versions with hashes, for Python 3.11 and later on x86_64 and arm64.

``python -m tests.supply.locks`` (``make constraints``) makes them anew with uv, from setup.cfg and pyproject.toml. They
name no registry, so they are installed from whichever one pip is configured for.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass

from packaging.requirements import Requirement

from tests.support import ROOT

FOLDER = ROOT / "container" / "locks"
HEADER = "# Made by `make constraints`; do not edit.\n"
PYTHON = "3.11"
ENTRY = re.compile(
    r"^(?P<requirement>[a-z0-9].*?) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE
)
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def declared(extra: str = "") -> list[Requirement]:
    """What setup.cfg requires: always (""), or for an extra alone, other extras included."""
    section, key = ("options.extras_require", extra) if extra else ("options", "install_requires")
    lines = [line for line in SETUP[section][key].splitlines() if line and not line.lstrip().startswith("#")]
    return [each for line in lines for each in _expanded(Requirement(line))]


def _expanded(requirement: Requirement) -> Iterator[Requirement]:
    if requirement.name == SETUP["metadata"]["name"]:
        for extra in sorted(requirement.extras):
            yield from declared(extra)
    else:
        yield requirement


def build_requirements() -> list[Requirement]:
    """What builds the package, and those of its requirements that are published as source only."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return [Requirement(line) for line in table["build-system"]["requires"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One file of exact versions, and the locks whose versions it takes over."""

    requirements: list[Requirement]
    agrees_with: tuple[str, ...] = ()


#: By the name of the file, in the order in which they are made.
LOCKS = {
    "build": Lock(requirements=build_requirements()),
    "runtime": Lock(requirements=[*declared(), *declared("postgres")]),
    "dev": Lock(requirements=[*declared(), *declared("dev")], agrees_with=("build", "runtime")),
    "bench": Lock(requirements=declared("bench"), agrees_with=("dev",)),
    "release": Lock(requirements=declared("release"), agrees_with=("dev",)),
    "system": Lock(requirements=declared("system"), agrees_with=("dev",)),
}


def locked(name: str) -> list[Requirement]:
    """Every entry of a lock, for whichever target it is."""
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    return [Requirement(found["requirement"]) for found in ENTRY.finditer(text)]


def locked_versions(name: str, target: dict[str, str] | None = None) -> dict[str, str]:
    """The version of each package that the lock installs on the target, or here; each package only once."""
    chosen = [each for each in locked(name) if each.marker is None or each.marker.evaluate(target)]
    versions = {each.name: str(each.specifier).removeprefix("==") for each in chosen}
    assert len(versions) == len(chosen), f"{name}.txt has two versions of one package for {target}"
    return versions


def write(name: str) -> None:
    """Resolve one lock with the newest versions that are allowed."""
    lock, path = LOCKS[name], FOLDER / f"{name}.txt"
    constraints = [f"--constraints={FOLDER / other}.txt" for other in lock.agrees_with]
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "--no-config", "pip", "compile", "-", f"--output-file={path}"),
            *("--universal", f"--python-version={PYTHON}", "--generate-hashes", "--upgrade"),
            *("--no-annotate", "--no-header", "--quiet", *constraints),
        ],
        input="\n".join(map(str, lock.requirements)),
        text=True,
        check=True,
    )
    path.write_text(HEADER + path.read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    for each in LOCKS:
        write(each)
