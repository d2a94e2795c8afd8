"""The API on an empty SQLite store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.store.sql_store import SqlStore
from tests.support.api import Api, serving_api
from tests.support.sqlite import new_sqlite_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture
def api(store: SqlStore) -> Iterator[Api]:
    with serving_api(store) as api:
        yield api
