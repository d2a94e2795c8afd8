"""Whether this machine can run the system tests: ``python -m tests.system.preflight`` says what is missing, and fails.

The tests themselves do not look: where one of these is missing, they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: Programs, and the Debian packages that have them.
PROGRAMS = {
    "/usr/bin/python3": "python3, python3-venv",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "debootstrap": "debootstrap",
    "podman": "podman",
    "buildah": "buildah",
    "crun": "crun",
}


def missing() -> list[str]:
    """What keeps this machine from running the system tests."""
    found = [
        f"{program} (Debian package {package})"
        for program, package in PROGRAMS.items()
        if not shutil.which(program)
    ]
    if os.geteuid() != 0:
        return ["root", *found]
    if not found and not _may_mount():
        found.append("the right to mount file systems in a new namespace")
    return found


def _may_mount() -> bool:
    command = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


if __name__ == "__main__":
    if lacks := missing():
        sys.exit(f"System tests NOT RUN: this machine lacks {'; '.join(lacks)}.")
    print("System tests: this machine has all that they need.")
