"""``check`` says what is wrong, in words and as an exit status, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import postgres
from tests.support.command_line import Invoke
from tests.support.program import SECRET, Place, unused_endpoint


def test_all_well(place: Place, printed: Callable[..., Any]) -> None:
    place.send("job-1")
    answer = printed("check")

    assert answer["ok"] is True
    assert [one["name"] for one in answer["checks"]][:4] == ["settings", "store", "handlers", "access key"]
    assert {one["exit_code"] for one in answer["checks"]} == {0}
    assert "about 1 messages waiting" in answer["checks"][-1]["detail"]
    assert place.messages_left() == 1


@pytest.mark.parametrize(
    ("settings", "exit_code", "name", "words"),
    [
        pytest.param({"dispatch__concurrency": "0"}, 78, "settings", "dispatch.concurrency", id="settings"),
        pytest.param({"queues": "[]"}, 78, "settings", "[[queues]]", id="no-queues"),
        pytest.param({"queues__0__endpoint": "http://["}, 78, "settings", "queues[0]", id="no-url"),
        pytest.param({"store__url": "sqlite:////proc/l.db"}, 69, "store", "writable", id="store"),
        pytest.param({"routes__0__handlers__0__use": "x"}, 78, "handlers", "available", id="handler"),
        pytest.param({"queues__0__queue": "other"}, 69, "queue other", "QueueNotExist", id="no-such-queue"),
        pytest.param({"queues__0__endpoint": "http://h:no"}, 78, "", "", id="port"),
    ],
)
def test_each_trouble_has_its_words_and_its_exit_status(
    place: Place,
    printed: Callable[..., Any],
    settings: dict[str, str],
    exit_code: int,
    name: str,
    words: str,
) -> None:
    answer = printed("check", exit_code=exit_code, **settings)

    (bad, *_) = [one for one in answer["checks"] if not one["ok"]]
    assert answer["ok"] is False
    assert bad["name"].startswith(name)
    assert words in bad["detail"]


def test_each_error_of_the_settings_is_a_row_of_its_own(place: Place, invoke: Invoke) -> None:
    result = invoke("check", dispatch__lease="5x", store_url="x")

    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert result.exit_code == 78
    assert [row[:2] for row in rows] == [["FAILED", "settings"]] * 2
    assert "MNS_LISTENER_STORE_URL" in rows[0][2]
    assert rows[1][2].startswith(
        "MNS_LISTENER_DISPATCH__LEASE: dispatch.lease = '5x' is not a valid duration"
    )


def test_a_database_that_cannot_hold_every_text_is_reported(
    place: Place, printed: Callable[..., Any]
) -> None:
    url = postgres.server().new_database(encoding="LATIN1")
    answer = printed("check", exit_code=78, store__url=url)

    (bad,) = [one for one in answer["checks"] if one["name"] == "store"]
    assert "createdb --encoding UTF8" in bad["detail"]


def test_queue_that_cannot_be_reached(place: Place, invoke: Invoke) -> None:
    result = invoke("check", queues__0__endpoint=unused_endpoint())

    assert (result.exit_code, "connection refused" in result.stdout) == (69, True)
    assert [line for line in result.stdout.splitlines() if line != line.rstrip()] == []


def test_wrong_key_is_reported_and_never_printed(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"not-{SECRET}")
    result = invoke("check")

    assert (result.exit_code, "belong together" in result.stdout) == (69, True)
    assert SECRET not in result.output


def test_no_key_at_all(place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from alibabacloud_credentials.utils import auth_util

    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    # The package reads the environment when it is imported, which an earlier test may have done.
    monkeypatch.setattr(auth_util, "environment_access_key_id", None)
    monkeypatch.setenv("HOME", str(place.folder))  # where no profile is
    result = invoke("check")

    assert (result.exit_code, "ALIBABA_CLOUD_ACCESS_KEY_ID" in result.stdout) == (69, True)
