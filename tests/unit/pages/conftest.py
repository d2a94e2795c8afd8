"""The pages on a SQLite store with one job, dead letters and quarantined messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.core import clock
from listener.core.model import ResultStatus, RoutingDecision, Target
from listener.settings.sections import Settings
from listener.store.dead_letters import DeadLetters
from listener.store.quarantined_messages import QuarantinedMessages
from listener.store.sql_store import SqlStore
from tests.support.builders import (
    a_callback,
    a_decoded_message,
    a_message,
    decoded_messages,
    routes_all,
    wrapped,
)
from tests.support.pages import READER, WRITER, Browser, browsing
from tests.support.sqlite import new_sqlite_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with new_sqlite_store(tmp_path) as store:
        yield store


@pytest.fixture
def settings() -> Settings:
    """One route, to which every result that has ended goes."""
    return Settings.model_validate({"routes": [{"name": "videos", "handlers": [{"use": "log"}]}]})


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"write {WRITER}\nread {READER}\n")
    return path


@pytest.fixture
def visitor(store: SqlStore, settings: Settings, tokens: Path) -> Iterator[Browser]:
    """A browser that has not signed in."""
    with browsing(store, settings, token_file=tokens) as browser:
        yield browser


@pytest.fixture
def browser(visitor: Browser) -> Browser:
    """One that may write."""
    assert visitor.sign_in(WRITER).status_code == 303
    return visitor


@pytest.fixture
def dead_letters(store: SqlStore) -> list[int]:
    """The ids of three dead letters, newest first."""
    refused = RoutingDecision(
        status=ResultStatus.REFUSED, targets=(Target("videos", "log"),), reason="no such <b>bucket</b>"
    )
    store.record(decoded_messages(3), lambda _result, _job, _queue: refused, at=clock.now())
    return [letter.id for letter in DeadLetters(store.database).page()]


@pytest.fixture
def quarantined(store: SqlStore) -> list[int]:
    """The ids of two messages, newest first; the older one can be decoded by now."""
    bodies = {"m1": wrapped(a_callback(JobId="job-1")), "m2": "<script>alert(1)</script>"}
    batch = [
        a_decoded_message(message=a_message(message_id=name, body=body), result=None, reason="garbled")
        for name, body in bodies.items()
    ]
    store.record(batch, routes_all(), at=clock.now())
    return [entry.id for entry in QuarantinedMessages(store.database).page()]
