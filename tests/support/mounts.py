"""File systems in memory: nothing that is written there reaches a disk, and all of it goes at the end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_memory() -> Iterator[Path]:
    """A new folder in memory, where no user but root is kept out."""
    place = Path(tempfile.mkdtemp(prefix="system-test-"))
    with mounted("-t", "tmpfs", "-o", "mode=755", "tmpfs", place=place):
        yield place
    place.rmdir()


@contextmanager
def mounted(*options: str, place: Path) -> Iterator[None]:
    subprocess.run(["mount", *options, str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", str(place)], check=True)
