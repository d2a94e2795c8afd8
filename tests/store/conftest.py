from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from listener.store.sql_store import SqlStore
from tests.support.lent_stores import lent_store


@pytest.fixture
def url() -> Iterator[str]:
    """An empty store on PostgreSQL."""
    with lent_store() as lent:
        yield lent


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(SqlStore.open(url)) as opened:
        yield opened
