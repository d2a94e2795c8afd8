"""Masked bodies: nothing of the sender is left, and they fail, or decode, as before."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from listener.core.errors import Undecodable
from listener.formats.callback import decode
from listener.formats.redaction import redacted
from tests.support.builders import WRAPPINGS, a_callback, wrapped
from tests.support.cases import each_case


def verdict(body: str) -> str:
    """How decoding ends: the kind of the result, or the beginning of the reason."""
    try:
        result = decode(body)
    except Undecodable as error:
        return error.reason[:16]
    return f"{result.type} {result.state}"


@each_case("how", WRAPPINGS)
def test_names_and_states_stay_and_everything_else_is_masked(how: str) -> None:
    body = wrapped(a_callback(JobId="job-7a", UserData='{"user": "Zoë"}', Message="oss://Secret/1.mp4"), how)

    masked = redacted(body)

    result = decode(masked)
    assert (result.job_id, result.state, result.type) == ("xxx-9x", "Success", "IProduction")
    assert (result.user_data, result.message) == ('{"xxxx": "Xxé"}', "xxx://Xxxxxx/9.xx9")
    assert verdict(masked) == verdict(body)


@each_case(
    "body",
    [
        '{"JobId": "a", "State": "Success", "UserData": "unfinished',
        wrapped('{"JobId": "a" "State": "Success"}'),
        "[1, 2]",
        "<html><body>Bad gateway</body></html>",
        "this is no callback",
        '{"UserData": "nobody\\"s", "State": "Fail"}',
        "",
    ],
)
def test_what_cannot_be_decoded_fails_for_the_same_reason(body: str) -> None:
    assert verdict(redacted(body)) == verdict(body)


@given(st.lists(st.from_regex(r"q[^\W_]{0,12}q", fullmatch=True)), st.sampled_from(" .:/-_@"))
def test_no_word_of_the_sender_is_left(words: list[str], separator: str) -> None:
    text = separator.join(words)

    masked = redacted(json.dumps({"UserData": text}, ensure_ascii=False))

    left = json.loads(masked)["UserData"]
    assert {character for character in left if character.isalnum()} <= set("xX90é")
    assert len(left) == len(text)
