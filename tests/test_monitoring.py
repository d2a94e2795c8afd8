"""The dashboard and the alert rules use metrics, labels and values that exist, and the alerts are documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from listener.core.model import Target
from listener.runtime.metrics import Metrics
from tests.support import ROOT
from tests.support.cases import each_case

RULES: Any = yaml.safe_load((ROOT / "container" / "prometheus-alerts.yml").read_text("utf-8"))
DASHBOARD: Any = json.loads((ROOT / "container" / "grafana-dashboard.json").read_text("utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in ALERTS),
    *(
        pytest.param(target["expr"], id=f"{panel['id']}{target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
]
#: What Prometheus adds to each series when it scrapes them.
ADDED = {"instance", "job"}


def exported() -> Iterator[tuple[str, dict[str, set[str]]]]:
    """The name of each series with its labels, and those of their values that are known before an event."""
    metrics = Metrics(lines_dropped=lambda: {"stderr": 0, "stdout": 0})
    metrics.expect(queues=["q"], targets=[Target("r", "h")])
    for family in metrics.registry.collect():
        known: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                known.setdefault(label, set()).add(value)
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(
            family.type, ("",)
        )
        described: Any = metrics.registry._names_to_collectors[family.name]
        labels = getattr(described, "_labelnames", None) or getattr(described, "_labels", ())
        for suffix in suffixes:
            bounds = ("le",) if suffix == "_bucket" else ()
            yield (
                family.name + suffix,
                {label: known.get(label, set()) for label in (*labels, *known, *bounds)},
            )


SERIES = dict(exported())


@each_case("expression", EXPRESSIONS)
def test_every_metric_label_and_value_exists(expression: str) -> None:
    selectors = re.findall(r"(mns_listener_\w+)(?:\{([^}]*)\})?", expression)
    assert selectors
    for name, matchers in selectors:
        assert name in SERIES
        for label, values in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', matchers):
            if label in ADDED:
                continue
            assert label in SERIES[name]
            known = SERIES[name][label]
            assert set(values.split("|")) <= known or label in ("state", "status") or not known


@each_case("expression", EXPRESSIONS)
def test_what_is_grouped_by_is_a_label_of_the_metrics(expression: str) -> None:
    names = re.findall(r"mns_listener_\w+", expression)
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")}

    assert grouped - ADDED - {label for name in names for label in SERIES[name]} == set()


@each_case("expression", EXPRESSIONS)
def test_brackets_are_balanced_and_only_counters_are_rated(expression: str) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    rated = re.findall(r"(?:rate|increase)\((mns_listener_\w+)", expression)
    assert [name for name in rated if not name.endswith(("_total", "_bucket", "_sum", "_count"))] == []


def test_every_alert_has_what_prometheus_and_a_person_need() -> None:
    assert [group["name"] for group in RULES["groups"]] == ["mns-listener"]
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 10
    for rule in ALERTS:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f'docs/operations.md, "Alerts", {rule["alert"]}' in rule["annotations"]["description"]
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        available = {
            label for name in re.findall(r"mns_listener_\w+", rule["expr"]) for label in SERIES[name]
        }
        assert shown <= available | ADDED


def test_every_alert_is_documented_and_no_other() -> None:
    section = (ROOT / "docs" / "operations.md").read_text("utf-8").split("### Alerts")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)

    assert [name for name, _, _ in documented] == [rule["alert"] for rule in ALERTS]


def test_every_metric_is_shown_on_the_dashboard() -> None:
    text = json.dumps(PANELS)
    unshown = {
        name for name in SERIES if not name.endswith(("_bucket", "_sum", "_count")) and name not in text
    }

    # What others on it say as well: polls are requests, each with its time; received and deleted are results.
    assert unshown <= {
        f"mns_listener_{name}"
        for name in (
            *("polls_total", "messages_received_total", "messages_deleted_total"),
            *("decisions_total", "build_info"),
        )
    }


def test_the_dashboard_has_the_shape_that_grafana_loads() -> None:
    assert DASHBOARD["schemaVersion"] >= 38
    assert {"title", "uid", "panels", "templating", "time"} <= DASHBOARD.keys()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables


def test_no_panels_of_the_dashboard_overlap() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
