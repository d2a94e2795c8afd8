"""Settings that are valid, but probably not what was meant."""

from __future__ import annotations

import pytest

from listener.jobs.settings_warnings import REGIONS, route_warnings, settings_warnings
from listener.settings.loader import load
from listener.settings.sections import Settings
from tests.support import ROOT


def routes(*matches: str) -> str:
    return "".join(
        f'[[routes]]\nname = "{name}"\nhandlers = [{{use = "log"}}]\nmatch = {{{match}}}\n'
        for name, match in zip("abcdef", matches, strict=False)
    )


def loaded(text: str) -> Settings:
    return load(text, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            routes('function = ["Cover", "CaptionExtration"]'),
            "routes[0].match.function: 'CaptionExtration' is not a documented function "
            "(did you mean 'CaptionExtraction'?); ",
            id="function",
        ),
        pytest.param(
            '[reconcile]\ndeadlines = {cover = "1h"}',
            "reconcile.deadlines: 'cover' is not a documented function (did you mean 'Cover'?); ",
            id="function-of-a-deadline",
        ),
        pytest.param(
            routes("", 'function = "Cover"'),
            "the route 'b' never gets a result: the earlier route 'a' matches whatever it matches",
            id="hidden-route",
        ),
        pytest.param(
            '[mps]\nregion = "cn-shangai"',
            "mps.region = 'cn-shangai' is not a region of MPS that this release knows "
            "(did you mean 'cn-shanghai'?); known: ap-northeast-1, ",
            id="region",
        ),
        pytest.param(
            '[tenants.north.mps]\nregion = "mars"',
            "tenants.north.mps.region = 'mars' is not a region of MPS that this release knows; known: ",
            id="region-of-a-tenant",
        ),
        pytest.param(
            '[mps]\nregion = "cn-beijing"\n'
            'notify_url = "mns://1.mns.cn-shanghai-internal.aliyuncs.com/queues/q"',
            "mps.notify_url is in cn-shanghai, but mps.region = 'cn-beijing'",
            id="two-regions",
        ),
    ],
)
def test_what_is_probably_a_mistake_is_named(text: str, words: str) -> None:
    (warning,) = settings_warnings(loaded(text))

    assert warning.startswith(words)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(routes('function = "Cover"', 'state = "Lost"', ""), id="routes"),
        pytest.param('[mps]\nregion = "local"\nendpoint = "http://127.0.0.1:8470"', id="own-endpoint"),
        pytest.param(
            '[mps]\nnotify_url = "mns://queue.test:8470/queues/q"\nregion = "cn-beijing"', id="no-region"
        ),
        *(pytest.param(f'[mps]\nregion = "{region}"', id=region) for region in REGIONS),
        *(
            pytest.param((ROOT / name).read_text("utf-8"), id=name)
            for name in ("systemd/listener.toml", "container/listener.toml")
        ),
    ],
)
def test_nothing_is_said_of_what_works(text: str) -> None:
    assert settings_warnings(loaded(text)) == []


def test_a_route_that_no_route_asks_for_is_named() -> None:
    settings = loaded(routes('route = ["covers", "texts"]', ""))

    assert route_warnings(settings, "covers") == route_warnings(settings, "") == []
    (warning,) = route_warnings(settings, "cover")
    assert warning.startswith("no route in the settings has match.route = 'cover' (did you mean 'covers'?); ")
    assert route_warnings(loaded(""), "cover") == []  # another host has the routes
