from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from listener.store.sql_store import SqlStore
from tests.support import postgres


@pytest.fixture
def url() -> str:
    """A new store on PostgreSQL."""
    return postgres.server().new_store()


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(SqlStore.open(url)) as opened:
        yield opened
