"""Modules of the listener that are loaded when they are used first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from listener.core.lazy_imports import lazy_imports

LOADED = """
import sys
from listener.core.lazy_imports import lazy_imports

def loaded(name):
    return "__builtins__" in object.__getattribute__(sys.modules[name], "__dict__")

with lazy_imports():
    from listener.formats import queue_url
    import json.scanner
assert not loaded("listener.formats.queue_url")
assert loaded("json.scanner")
{use}
assert loaded("listener.formats.queue_url")
"""


@pytest.mark.parametrize(
    "use",
    [
        pytest.param("queue_url.split_queue_url", id="a-name-of-it"),
        pytest.param("from listener.formats.queue_url import split_queue_url", id="an-ordinary-import"),
    ],
)
def test_a_module_of_ours_is_loaded_when_it_is_used(use: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED.format(use=use)], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


MANY_THREADS = """
import sys
import threading
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.rules import routing

sys.setswitchinterval(1e-6)
barrier, failed = threading.Barrier(8), []

def use():
    barrier.wait()
    try:
        routing.decider
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(repr(failed) if failed else 0)
"""


def test_threads_that_use_a_module_at_once_see_all_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", MANY_THREADS], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_imports_are_as_usual_afterwards_even_if_one_failed() -> None:
    before = list(sys.meta_path)

    with pytest.raises(ImportError), lazy_imports():
        from listener import nothing_of_this_name  # type: ignore[attr-defined]  # noqa: F401 - it does not exist
    assert sys.meta_path == before
