"""Single jobs that are accepted without the framework are answered as it would, whatever is sent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence

import httpx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from listener.settings.loader import settings_from
from tests.support.api import Api, serving_api
from tests.support.program import configured_place

PATH = "/v1/jobs"
Headers = Sequence[tuple[bytes, bytes]]

COVER = {
    "function": "Cover",
    "input": "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    "output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
}
#: Half of what is drawn for a member could be meant, the other half could not.
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_MEANT = {
    "function": st.sampled_from(["", "Cover", "VideoH2V", "Unknown"]) | _TEXTS,
    "kind": st.sampled_from(["", "IProduction", "Transcode", "Snapshot", "MediaInfo", "transcode"]),
    "input": st.sampled_from(["", COVER["input"]]) | _TEXTS,
    "output": st.sampled_from(["", COVER["output"]]) | _TEXTS,
    "params": st.dictionaries(_TEXTS, _VALUES, max_size=3) | st.sampled_from(["", "{}", '{"a": 1}', "["]),
    "notify_url": st.sampled_from([None, "", "http://example.com/"]) | _TEXTS,
    "route": st.sampled_from(["", "videos", "a:b"]) | _TEXTS,
    "data": st.dictionaries(_TEXTS, _VALUES, max_size=3) | _TEXTS,
    "user_data": st.none() | _TEXTS,
    "model": _TEXTS,
    "schedule_params": _TEXTS,
    "deadline": st.sampled_from([None, "30m", "1h30m", 0, 1800, 1.5, "m", 10**12, -1]),
    "force": st.booleans() | st.sampled_from([0, 1, "true"]),
    "tenant": st.sampled_from(["", "nobody"]),
}
_OTHER = st.fixed_dictionaries({}, optional=dict.fromkeys((*_MEANT, "reference", "unknown"), _VALUES))
_BODIES = st.builds(
    lambda cover, meant, other: cover | meant | other,
    st.sampled_from([COVER, COVER | {"force": True}, {}]),
    st.fixed_dictionaries({}, optional=_MEANT),
    st.just({}) | _OTHER,
)
_RAW = st.builds(lambda body: json.dumps(body).encode(), _BODIES) | st.binary(max_size=30)
#: Also half of a body, in other encodings, and what is JSON but no object.
_CONTENT = st.one_of(
    _RAW,
    st.builds(lambda raw, end: raw[:end], _RAW, st.integers(0, 60)),
    st.builds(
        lambda body, codec: json.dumps(body).encode(codec), _BODIES, st.sampled_from(["utf-16", "utf-8-sig"])
    ),
    st.builds(lambda value: json.dumps(value).encode(), _VALUES),
)
_LATIN = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=10)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["application/json; x=y", "text/plain", "application/x+json", "", "a/b/c"]
        ),
        "traceparent": st.just(f"00-{'a' * 32}-{'b' * 16}-01") | _LATIN,
        "idempotency-key": st.sampled_from(["", "\xfc"]) | _LATIN,
        "prefer": st.sampled_from(["wait=1, Respond-Async;x", "respond-async, return=minimal"]),
    },
)


@pytest.fixture(scope="module")
def mps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with (
        configured_place(tmp_path_factory.mktemp("fast")) as place,
        place.store() as store,
        serving_api(store, settings_from(place.folder / "listener.toml"), max_waiting=10_000) as api,
    ):
        yield api


NUMBERS = itertools.count()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=_CONTENT, headers=_HEADERS)
def test_both_paths_answer_alike(mps: Api, content: bytes, headers: dict[str, str]) -> None:
    # Whoever is first, what is accepted has this name, and the others are answered with the same job.
    sent = {"content-type": "application/json", "prefer": "respond-async"}
    sent |= {"idempotency-key": f"once-{next(NUMBERS)}"} | headers
    lines = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    fast_first, fast = asked(mps, lines, content), asked(mps, lines, content)
    guarded, mps.application = mps.application, mps.framework
    slow = asked(mps, lines, content)
    mps.application = guarded

    event(f"status {fast.status_code}")
    assert (fast.status_code, dict(fast.headers)) == (slow.status_code, dict(slow.headers))
    assert fast.content == slow.content
    assert fast_first.status_code in (202, slow.status_code)


def asked(api: Api, headers: Headers, content: bytes) -> httpx.Response:
    response: httpx.Response = api.run(api.ask_with("POST", PATH, headers, content))
    return response
