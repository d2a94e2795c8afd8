"""The examples for Kubernetes and Compose satisfy the published schemas."""

from __future__ import annotations

import copy
import json
from importlib import resources
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support import ROOT

FOLDER = ROOT / "container"
#: Releases that clusters run; the newest one is the newest that the package has.
KUBERNETES = ("1.30", "1.33", kubernetes_validate.latest_version())
DOCUMENTS = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text("utf-8")))
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


def compose_schema() -> dict[str, Any]:
    """The one of compose-spec, which check-jsonschema contains."""
    vendored = resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema: dict[str, Any] = json.loads(vendored.read_text("utf-8"))
    return schema


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["kind"])
def test_kubernetes_accepts_every_field(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_of_kubernetes_is_noticed() -> None:
    wrong = copy.deepcopy(DOCUMENTS[-1])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_compose_accepts_every_field() -> None:
    jsonschema.validate(COMPOSE, compose_schema())


def test_a_misspelt_field_of_compose_is_noticed() -> None:
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["listener"]["readonly"] = True

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, compose_schema())
