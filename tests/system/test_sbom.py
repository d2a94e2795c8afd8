"""`make sbom` lists what the image contains."""

from __future__ import annotations

import json
import subprocess

from packaging.utils import canonicalize_name

from tests.supply.locks import locked_versions
from tests.support import ROOT


def test_the_sbom_lists_every_package_with_version_and_licence() -> None:
    done = subprocess.run(["make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((ROOT / "dist/mns-listener.cdx.json").read_text("utf-8"))
    components = {canonicalize_name(each["name"]): each for each in document["components"]}
    del components["mns-listener"]

    assert document["bomFormat"] == "CycloneDX"
    assert {name: each["version"] for name, each in components.items()} == locked_versions("runtime")
    assert [name for name, each in components.items() if not each.get("licenses")] == []
