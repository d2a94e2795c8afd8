"""What holds for every test: property tests that allow for a busy machine, keys that belong to no account, and state
of the process that is put back after each test, so that the order of tests makes no difference.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.node import has_node
from tests.support.process_state import restored_process_state

settings.register_profile("steady", deadline=None, database=None, max_examples=60)
settings.load_profile("steady")

# Set before anything of the credentials package is imported, so that no test ever asks a metadata service.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "testKeyId"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "testKeySecret"
os.environ.pop("ALIBABA_CLOUD_SECURITY_TOKEN", None)
# One authority instead of the 150 of the system: every client reads all of them anew, also one that uses no TLS.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "support" / "authority.pem")

# A shell starts background jobs with SIGINT ignored, and programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    with restored_process_state():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep modules and tests out of the search for garbage: they stay, and looking at them takes time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


#: Fixtures that take long and are made once for a module: in a parallel run, their tests go to one worker, and first.
EXPENSIVE = ("reports", "calm", "accounts", "outages", "fragile", "sdist", "node_checks")


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would start with the groups that have the most tests, whatever these take.
    config.option.loadscopereorder = False


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the groups before pytest-xdist looks for them, which it does once all tests are collected."""
    expensive = [name for name in EXPENSIVE if name in getattr(item, "fixturenames", ())]
    if expensive:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name}:{expensive[0]}"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After the order is made random: start with what takes longest, so that no worker is left with it at the end."""
    if not has_node():
        without = [item for item in items if item.get_closest_marker("node")]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, _is_ungrouped(item)))
    if getattr(config.option, "loadgroup", False):
        ignored = [item.nodeid for item in items if not _is_ungrouped(item) and "@" not in item.nodeid]
        assert not ignored, f"pytest-xdist ignores the groups of {ignored[:3]}: is pytest too new for it?"


def _is_ungrouped(item: pytest.Item) -> bool:
    return item.get_closest_marker("xdist_group") is None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what cannot run here, and the seed of the order, also where the run is quiet and so has no header."""
    if not has_node():
        terminalreporter.write_line("Tests with clients for Node.js NOT RUN: they need node and npm.")
    if (seed := config.getoption("randomly_seed", None)) is not None:
        terminalreporter.write_line(f"random order; repeat it with --randomly-seed={seed}")
