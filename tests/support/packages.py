"""Third-party handler packages, installed by pip or into a directory as pip would do it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch, directory: Path, module: str, *, source: str, points: str | None = None
) -> None:
    """Write ``module`` with its entry points below the directory and put that on the path for this test."""
    (directory / f"{module}.py").write_text(source, "utf-8")
    info = directory / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    entry_points = points or f"[mns_listener.handlers]\n{module} = {module}:{module}\n"
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(directory)
    # Noted as absent now, so that the module is forgotten again after the test.
    monkeypatch.setitem(sys.modules, module, sys)
    del sys.modules[module]


def an_environment(folder: Path) -> Path:
    """The interpreter of a new virtual environment that also finds the packages of the running one, pip included."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    running = sysconfig.get_path("purelib")
    (packages / "running.pth").write_text(f"import site; site.addsitedir({running!r})\n")
    return folder / "bin" / "python"


def pip_install(environment: Path, package: Path) -> None:
    """Run ``pip install .`` in the folder of a package, without a network."""
    offline = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check")
    done = subprocess.run(
        [environment, "-m", "pip", "install", *offline, "."],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def build(hook: str, source: Path, target: Path) -> Path:
    """The archive that a build front end would get from ``hook``, without a network and without isolation."""
    target.mkdir()
    script = f"import setuptools.build_meta as b; b.{hook}({str(target)!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = target.iterdir()
    return archive


def installed(package: Path, folder: Path) -> Path:
    """A directory with what an installer would put there for a package: what is in its wheel."""
    wheel = build("build_wheel", package, folder / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"
