"""Settings from the environment, laid over those from the file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.settings.env_overlay import overlay
from tests.support.cases import each_case


@each_case(
    ("document", "environ", "expected"),
    [
        pytest.param({}, {"STORE__URL": "sqlite:///a.db"}, {"store": {"url": "sqlite:///a.db"}}, id="text"),
        pytest.param({}, {"DISPATCH__CONCURRENCY": "3"}, {"dispatch": {"concurrency": 3}}, id="number"),
        pytest.param({}, {"HTTP__LISTEN": ""}, {"http": {"listen": ""}}, id="empty"),
        pytest.param({}, {"X__Y": "5m"}, {"x": {"y": "5m"}}, id="duration"),
        pytest.param({}, {"X__Y": '["a", "b"]'}, {"x": {"y": ["a", "b"]}}, id="list"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"A__B": "3"}, {"a": {"b": 3, "c": 2}}, id="wins"),
        pytest.param(
            {"queues": [{"url": "u", "wait": 1}]},
            {"QUEUES__0__WAIT": "2"},
            {"queues": [{"url": "u", "wait": 2}]},
            id="into-a-list",
        ),
        pytest.param(
            {"queues": [{"url": "u"}]},
            {"QUEUES__1__URL": "v"},
            {"queues": [{"url": "u"}, {"url": "v"}]},
            id="one-more",
        ),
        pytest.param({}, {"QUEUES": '[{url = "u"}]'}, {"queues": [{"url": "u"}]}, id="a-whole-list"),
        pytest.param({"queues": [1, 2]}, {"QUEUES__1": "3"}, {"queues": [1, 3]}, id="an-element"),
        pytest.param({}, {"CONFIG": "/etc/x.toml"}, {}, id="not-a-setting"),
    ],
)
def test_a_variable_names_a_setting(
    document: dict[str, Any], environ: dict[str, str], expected: dict[str, Any]
) -> None:
    named = {f"MNS_LISTENER_{name}": value for name, value in environ.items()}

    overlaid = overlay(document, {**named, "PATH": "/bin", "HOME__X": "y"})

    assert (overlaid.document, overlaid.problems) == (expected, [])


def test_the_document_itself_stays_as_it_is() -> None:
    document = {"queues": [{"url": "u"}], "store": {"url": "a"}}
    overlay(document, {"MNS_LISTENER_QUEUES__0__URL": "v", "MNS_LISTENER_STORE__URL": "b"})

    assert document == {"queues": [{"url": "u"}], "store": {"url": "a"}}


@each_case(
    ("document", "name"),
    [
        pytest.param({}, "QUEUES__7__URL", id="beyond-the-end"),
        pytest.param({"queues": []}, "QUEUES__FIRST__URL", id="no-number"),
        pytest.param({"store": {"url": "u"}}, "STORE__URL__X", id="below-a-text"),
        pytest.param({"store": 5}, "STORE__URL", id="a-section-that-is-none"),
        pytest.param({"queues": "x"}, "QUEUES__0__URL", id="a-list-that-is-none"),
        pytest.param({"queues": []}, "QUEUES__²__URL", id="superscript"),
    ],
)
def test_a_variable_without_a_place_is_named(document: dict[str, Any], name: str) -> None:
    (problem,) = overlay(document, {f"MNS_LISTENER_{name}": "v"}).problems

    assert problem.startswith(f"environment variable MNS_LISTENER_{name} does not match any setting")


@given(st.lists(st.sampled_from(["STORE", "URL", "QUEUES", "0", "1", "x", ""]), max_size=5), st.text())
def test_any_variable_is_laid_over_or_refused(path: list[str], value: str) -> None:
    document = {"store": {"url": "u"}, "queues": [{"url": "u"}], "log": 5}
    name = "__".join(path)
    overlaid = overlay(document, {f"MNS_LISTENER_{name}": value})

    assert set(document) <= set(overlaid.document)
    assert [len(overlaid.variables), len(overlaid.problems)] in ([1, 0], [0, 1])
    assert all(f"MNS_LISTENER_{name} does not match any setting" in problem for problem in overlaid.problems)
