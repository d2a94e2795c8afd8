"""Settings that are valid, but probably not what was meant."""

from __future__ import annotations

import pytest

from listener.formats.callback import decode
from listener.jobs.settings_warnings import REGIONS, route_warnings, settings_warnings
from listener.settings.loader import load
from listener.settings.sections import Settings
from tests.support import ROOT
from tests.support.callback_samples import QUARANTINE, SHAPES
from tests.support.cases import each_case


def routes(*matches: str) -> str:
    return "".join(
        f'[[routes]]\nname = "{name}"\nhandlers = [{{use = "log"}}]\nmatch = {{{match}}}\n'
        for name, match in zip("abcdef", matches, strict=False)
    )


def loaded(text: str) -> Settings:
    return load(text, {})


@each_case(
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
            routes('type = ["Report", "IProdution"]'),
            "routes[0].match.type: 'IProdution' is not a known type (did you mean 'IProduction'?); ",
            id="type",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{use = "pull"}]',
            "the route 'a' leaves its results to applications, but they cannot pull them from this daemon: ",
            id="pull-without-an-api",
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


@each_case(
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


@each_case(
    ("name", "meant"),
    [
        *(("Transcod", "Transcode"), ("SnapShots", "Snapshot"), ("smart-tag", "smarttag")),
        *(("Analyse", "Analysis"), ("ProdceMediaComplete", "ProduceMediaComplete")),
    ],
)
def test_a_type_that_is_nearly_a_known_one_brings_a_warning(name: str, meant: str) -> None:
    (warning,) = settings_warnings(loaded(routes(f'type = "{name}"')))

    assert f"did you mean {meant!r}?" in warning


@each_case(
    "name",
    [
        *("iproduction", "SMARTTAG", "report", "ProduceMediaComplete", "HologramRender", "x"),
        *("ProduceSoundComplete", "LiveRecordVideoComposeComplete", "UploadByFileComplete", ""),
    ],
)
def test_types_are_an_open_set(name: str) -> None:
    assert settings_warnings(loaded(routes(f'type = "{name}"'))) == []


def test_every_type_of_the_samples_is_known_or_unlike_all_known_ones() -> None:
    types = {decode(shape.of("x")).type for shape in SHAPES if shape.route != QUARANTINE}

    assert len(types) > 15
    assert settings_warnings(loaded(routes(f"type = {sorted(types)}"))) == []


def test_applications_can_pull_where_the_api_is_on() -> None:
    route = '[[routes]]\nname = "a"\nhandlers = [{use = "pull"}]\n[http]\n'

    assert settings_warnings(loaded(route + 'listen = "unix:/run/http.sock"')) == []
    assert settings_warnings(loaded(route + 'token_file = "/etc/tokens"')) == []
    assert len(settings_warnings(loaded(route + 'token_file = "/etc/tokens"\napi = false'))) == 1
