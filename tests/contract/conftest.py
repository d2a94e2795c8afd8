from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from listener.store.sql_store import SqlStore
from tests.support.lent_stores import lent_store
from tests.support.stores import BACKENDS, EMPTY, OpenStore


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "postgresql":
        with lent_store() as lent:
            yield lent
    else:
        yield BACKENDS[request.param](tmp_path)


@pytest.fixture(params=EMPTY)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind where nothing ever was."""
    return EMPTY[request.param](tmp_path)


@pytest.fixture
def open_store(url: str) -> Iterator[OpenStore]:
    """Opens the same database as often as asked; each store is like one process'."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(SqlStore.open(url)))


@pytest.fixture
def store(open_store: OpenStore) -> SqlStore:
    return open_store()
