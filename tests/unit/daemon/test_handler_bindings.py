"""Deliveries are enriched where their route wants it and there is an MPS to ask."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from listener.daemon.wiring import handler_bindings
from listener.dispatch.coroutine_runner import CoroutineRunner
from listener.dispatch.enricher import Enricher
from listener.dispatch.handlers import Handlers
from listener.settings.sections import Settings
from tests.support.cases import each_case
from tests.support.clocks import RIGHT
from tests.support.sqlite import new_sqlite_store

MPS = {"region": "cn-shanghai"}


@each_case(
    ("sections", "enriched"),
    [
        ({}, set()),
        ({"mps": MPS}, {"a"}),
        ({"tenants": {"other": {"mps": MPS}}}, {"a"}),
        ({"tenants": {"other": {}}}, set()),
    ],
    ids=["no-mps", "mps", "mps-of-a-tenant", "tenant-without-mps"],
)
def test_only_routes_that_can_be_enriched_are(
    sections: dict[str, Any], enriched: set[str], tmp_path: Path
) -> None:
    routes = [
        {"name": name, "enrich": enrich, "handlers": [{"use": "log"}]}
        for name, enrich in (("a", True), ("b", False))
    ]
    settings = Settings.model_validate({"routes": routes, **sections})
    with new_sqlite_store(tmp_path) as store:
        enricher = Enricher(
            store=store,
            mps_of=lambda _tenant: None,
            tenant_of=lambda _delivery: "",
            max_wait=timedelta(0),
            clock_check=RIGHT,
        )
        bindings = handler_bindings(settings, Handlers(settings.routes, runner=CoroutineRunner()), enricher)

    assert {target.route for target, binding in bindings.items() if binding.enrich} == enriched
    assert {target.route for target in bindings} == {"a", "b"}
