"""Clients for Node.js: installed from the npm registry once for each lock file, into ``build/``."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support import ROOT

PROJECT = ROOT / "tests" / "contract" / "node"
#: An installation, and a run of all checks, on a machine that is busy with other things.
BOUND = 300.0


def has_node() -> bool:
    return all(shutil.which(program) for program in ("node", "npm"))


def installed_clients() -> Path:
    """The folder that holds ``node_modules``. No script of a package is run."""
    manifest, lock = PROJECT / "package.json", PROJECT / "package-lock.json"
    digest = hashlib.sha256(manifest.read_bytes() + lock.read_bytes()).hexdigest()[:16]
    folder = ROOT / "build" / f"node-{digest}"
    if folder.exists():
        return folder
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as parent:
        unfinished = Path(parent, "clients")
        unfinished.mkdir()
        for file in (manifest, lock):
            shutil.copy(file, unfinished)
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        subprocess.run(["npm", "ci", *quiet], cwd=unfinished, timeout=BOUND, check=True)
        unfinished.rename(folder)
    return folder


def run_checks(port: int) -> list[dict[str, Any]]:
    """The outcome of every check, in the order in which they ran."""
    command = ["node", "--no-deprecation", "checks.js", str(installed_clients()), str(port)]
    ended = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, timeout=BOUND, check=True)
    outcomes: list[dict[str, Any]] = json.loads(ended.stdout)
    return outcomes
