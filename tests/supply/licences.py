"""The licences of everything that is installed with mns-listener, from the metadata of the packages.

``python -m tests.supply.licences`` (``make licences``) writes the table of docs/licences.md anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT

PAGE = ROOT / "docs" / "licences.md"
PROJECT = "mns-listener"
#: Classifiers and free-text licences, as SPDX expressions.
SPDX = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
#: Licences that allow closed derived works without conditions beyond keeping the notice.
PERMISSIVE = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "PSF-2.0", "Unlicense"}


def shipped(requirement: str = f"{PROJECT}[postgres]") -> set[str]:
    """The names of all packages that the image contains, except this one's."""
    found: set[str] = set()
    waiting = [Requirement(requirement)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        found.add(name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting.extend(_requirements(name, extra))
    return found - {PROJECT}


def _requirements(name: str, extra: str) -> Iterator[Requirement]:
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def licence_of(name: str) -> str:
    """As an SPDX expression; an error where the metadata do not tell."""
    fields = metadata.metadata(name)
    if expression := fields["License-Expression"]:
        return str(expression)
    classifiers = [line for line in fields.get_all("Classifier") or [] if line.startswith("License ::")]
    named = [line.rpartition(" :: ")[2] for line in classifiers] or [str(fields["License"]).strip()]
    return " AND ".join(sorted({SPDX.get(each, each) for each in named}))


def ids_in(expression: str) -> set[str]:
    return set(re.findall(r"[\w.-]+", expression)) - {"AND", "OR", "WITH"}


def copyleft() -> dict[str, str]:
    """The packages under a licence that is not permissive."""
    licences = {name: licence_of(name) for name in shipped()}
    return {name: licence for name, licence in licences.items() if not ids_in(licence) <= PERMISSIVE}


def table() -> str:
    rows = [f"| {name} | {licence_of(name)} |\n" for name in sorted(shipped())]
    return "| package | licence |\n|---|---|\n" + "".join(rows)


def page_with(content: str) -> str:
    """The page with its table replaced; the text around it is written by hand."""
    return re.sub(r"\| package \| licence \|\n(\|.*\n)+", lambda _: content, PAGE.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), "utf-8")
