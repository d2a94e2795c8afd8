"""Rewritten callbacks say the same to routes, and nothing private, or are about other jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.core.model import Result
from listener.emulator.mps.sample_callbacks import SAMPLE_CALLBACKS, Subject
from listener.formats.callback import decode
from listener.formats.callback_rewriting import Kept, with_other_ids, without_private_data
from listener.formats.user_data import embed_token
from tests.support.builders import JOB_ID, NOON, TOKEN, WRAPPINGS, a_callback, wrapped
from tests.support.cases import each_case
from tests.support.event_samples import an_ims_event

COVERS = Kept(values={"covers", "7"}, patterns={"quality-*-?", "*"})
SECRET = "covers:Zoe Doe, oss://media.oss-cn-shanghai.aliyuncs.com/a?Signature=abc"


def sample(name: str) -> str:
    subject = Subject(id=JOB_ID, user_data=embed_token(SECRET, TOKEN), at=NOON)
    return json.dumps(SAMPLE_CALLBACKS[name].build(subject))


def facts(result: Result) -> tuple[Any, ...]:
    """What routes look at, besides the user data."""
    return (result.job_id, result.run_id, result.type, result.state, result.function, result.activity_states)


@each_case("name", SAMPLE_CALLBACKS)
def test_what_routes_look_at_stays_and_everything_private_is_masked(name: str) -> None:
    clean = decode(without_private_data(sample(name), kept=COVERS))

    assert facts(clean) == facts(decode(sample(name)))
    assert (clean.user_data, clean.token) == (
        "covers:Xxx Xxx, xxx://xxxxx.xxx-xx-xxxxxxxx.xxxxxxxx.xxx/x?Xxxxxxxxx=xxx",
        "",
    )
    assert [word for word in ("Zoe", "media.oss", '"media"', "abc") if word in clean.raw] == []


@each_case("how", WRAPPINGS)
def test_every_wrapping_is_removed(how: str) -> None:
    clean = without_private_data(wrapped(a_callback(UserData="private"), how))

    assert json.loads(clean)["UserData"] == "xxxxxxx"


@each_case(
    ("text", "expected"),
    [
        pytest.param(
            "oss://secret.oss-cn-shanghai.aliyuncs.com/a.mp4",
            "oss://xxxxxx.oss-cn-shanghai.aliyuncs.com/a.mp4",
            id="oss",
        ),
        pytest.param("oss://secret/a.mp4", "oss://xxxxxx/a.mp4", id="oss-without-host"),
        pytest.param(
            "http://h/a?Expires=17&Signature=a%2B", "http://h/a?Expires=99&Signature=x%9X", id="signature"
        ),
        pytest.param(
            "mns://123.mns.cn-shanghai.aliyuncs.com/queues/q",
            "mns://999.mns.cn-shanghai.aliyuncs.com/queues/q",
            id="queue",
        ),
        pytest.param("acs:ram::1234567890:role/r", "acs:ram::9999999990:role/r", id="role"),
        pytest.param("of 1234567890123456", "of 9999999990999999", id="account"),
        pytest.param("2024-07-25T09:21:36Z", "2024-07-25T09:21:36Z", id="time"),
        pytest.param(JOB_ID, JOB_ID, id="job-id"),
    ],
)
def test_addresses_lose_what_is_private_wherever_they_are(text: str, expected: str) -> None:
    nested = json.dumps({"in": [text]})
    clean = json.loads(without_private_data(a_callback(Message=text, Extra=nested)))

    assert (clean["Message"], json.loads(clean["Extra"])) == (expected, {"in": [expected]})


@each_case(
    ("user_data", "expected"),
    [
        pytest.param("covers:7a", "covers:9x", id="route"),
        pytest.param("Mr Doe: 7", "Xx Xxx: 9", id="no-route"),
        pytest.param("quality-7-z", "quality-9-x", id="pattern"),
        pytest.param("quality", "xxxxxxx", id="other-pattern"),
        pytest.param('{"a": 7, "b": 17}', '{"a":7,"b":99}', id="number"),
        pytest.param(
            '{"route": "covers", "a": [1, "b", null, true], "c": {"d": 2.5}}',
            '{"route":"covers","a":[9,"x",null,true],"c":{"d":9.9}}',
            id="json",
        ),
        pytest.param({"a": "b"}, '{"a":"x"}', id="object"),
        pytest.param(None, None, id="none"),
    ],
)
def test_of_user_data_only_what_routes_name_stays(user_data: Any, expected: str | None) -> None:
    clean = json.loads(without_private_data(a_callback(UserData=user_data), kept=COVERS))

    assert clean["UserData"] == expected


def test_private_data_within_a_body_that_is_text_and_has_addresses_is_masked() -> None:
    event = json.loads(an_ims_event("ProduceMediaComplete", JobId="j", UserData="private"))
    event["MessageBody"] = json.dumps(event["MessageBody"] | {"URL": "oss://secret/a"})

    assert json.loads(json.loads(without_private_data(json.dumps(event)))["MessageBody"]) == {
        "Status": "Success",
        "JobId": "j",
        "UserData": "xxxxxxx",
        "URL": "oss://xxxxxx/a",
    }


def test_what_is_no_callback_is_masked_altogether() -> None:
    assert without_private_data("Zoe has 7") == "Xxx xxx 9"


@given(st.text(max_size=60))
def test_any_body_is_rewritten(body: str) -> None:
    assert isinstance(without_private_data(body), str)
    assert with_other_ids(body, str.upper) == body


@each_case("name", SAMPLE_CALLBACKS)
def test_the_same_callback_is_about_other_jobs_and_has_no_token(name: str) -> None:
    before = decode(sample(name))
    after = decode(with_other_ids(sample(name), lambda old: f"new-{old}"))

    ids = (before.job_id, before.run_id, before.media_id, *before.activity_job_ids)
    changed = (after.job_id, after.run_id, after.media_id, *after.activity_job_ids)
    assert changed == tuple(f"new-{each}" if each else "" for each in ids)
    assert (after.state, after.type, after.user_data, after.token) == (before.state, before.type, SECRET, "")
