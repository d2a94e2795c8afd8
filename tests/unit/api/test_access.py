"""Which tokens there are, and what each of them allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.api.access import Permission, Tokens
from listener.core.errors import SettingsError
from listener.store.sql_store import SqlStore
from tests.support.api import serving_api
from tests.support.cases import each_case

READER, WRITER, PLAIN = "reader-0123456789", "writer-0123456789", "plain-0123456789=="
FILE = f"# comment\n\nread {READER}\nwrite {WRITER}\n{PLAIN}\n"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("token", "permission"),
    [
        (READER, Permission.READ),
        (WRITER, Permission.WRITE),
        (PLAIN, Permission.WRITE),
        (READER[:-1], None),
        ("", None),
        ("\udce4", None),
    ],
)
def test_each_line_is_a_token(token_file: Path, token: str, permission: Permission | None) -> None:
    assert Tokens(token_file).permission_of(token) is permission


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "contains no token", id="empty"),
        pytest.param("# nothing\n", "contains no token", id="only-a-comment"),
        pytest.param("read 0123456789abcde\n", "line 1: the token is shorter than 16", id="too-short"),
        pytest.param(f"\nadmin {WRITER}\n", "line 2: expected `read TOKEN`", id="unknown-permission"),
        pytest.param(f"read write {WRITER}\n", "line 1: expected", id="three-words"),
        pytest.param("0123456789abcdefé\n", "line 1: a token consists of", id="not-sendable"),
        pytest.param(f"read {WRITER}\nwrite {WRITER}\n", "line 2: this token occurs before", id="twice"),
    ],
)
def test_a_wrong_line_is_refused_without_showing_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)

    with pytest.raises(SettingsError) as raised:
        Tokens(path)
    assert words in str(raised.value)
    assert "0123456789" not in str(raised.value).replace(str(path), "")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"http\.token_file = '.*nowhere' cannot be read"):
        Tokens(tmp_path / "nowhere")


def test_a_change_of_the_file_counts_at_once(token_file: Path) -> None:
    tokens = Tokens(token_file)
    token_file.write_text("read a-new-token-0123456789\n")

    assert tokens.permission_of(READER) is None
    assert tokens.permission_of("a-new-token-0123456789") is Permission.READ


@pytest.mark.parametrize("wrong", ["short\n", None], ids=["wrong", "missing"])
def test_tokens_stay_valid_until_there_is_a_correct_file(token_file: Path, wrong: str | None) -> None:
    tokens = Tokens(token_file)
    if wrong is None:
        token_file.unlink()
    else:
        token_file.write_text(wrong)
    with capture_logs() as logs:
        assert tokens.permission_of(READER) is Permission.READ
        assert tokens.permission_of(READER) is Permission.READ
    assert [entry["event"] for entry in logs] == ["http.tokens_not_reloaded"]

    token_file.write_text(f"write {READER}\n")
    assert tokens.permission_of(READER) is Permission.WRITE


@each_case(
    ("header", "challenge"),
    [
        pytest.param(None, 'Bearer realm="mns-listener"', id="none"),
        pytest.param(f"Basic {WRITER}", 'Bearer realm="mns-listener"', id="another-scheme"),
        pytest.param("Bearer wrong-0123456789", "invalid_token", id="wrong"),
        pytest.param("Bearer", "invalid_token", id="empty"),
    ],
)
@each_case("path", ["/v1", "/v1/openapi.json", "/v1/nothing", "/"])
def test_nothing_is_answered_without_a_valid_token(
    store: SqlStore, token_file: Path, header: str | None, challenge: str, path: str
) -> None:
    with serving_api(store, token_file=token_file) as api:
        reply = api.get(path, headers={"authorization": header} if header else {})

    assert reply.status_code == 401
    assert challenge in reply.headers["www-authenticate"]
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["title"] == "A valid token is required"


def test_a_token_to_read_changes_nothing(store: SqlStore, token_file: Path) -> None:
    with serving_api(store, token_file=token_file) as api:
        api.headers["authorization"] = f"Bearer {READER}"
        assert api.get("/v1").status_code == 200
        reply = api.post("/v1")
        assert (reply.status_code, reply.json()["detail"]) == (403, "this token may only read")

        api.headers["authorization"] = f"bearer {WRITER}"
        assert api.post("/v1").status_code == 405  # passed, but there is nothing to post to
