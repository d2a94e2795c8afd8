"""What a user without permission can do: root may do everything, so it becomes somebody else for a while."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, unlike those of pytest."""
    made = Path(tempfile.mkdtemp(prefix="mnsl-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        made.chmod(0o755)
        shutil.rmtree(made)


@contextmanager
def no_access(folder: Path, *, mode: int, files: int | None = None) -> Iterator[None]:
    """Give the folder this mode, and its files the same or ``files``; within, this process is a user without more."""
    for path in folder.iterdir():
        path.chmod(mode if files is None else files)
    folder.chmod(mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        assert os.geteuid() != 0
        yield
    finally:
        if is_root:
            os.seteuid(0)
