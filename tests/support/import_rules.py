"""The rules of import: what each folder of the listener may import of the others."""

from __future__ import annotations

#: What each folder or module at the top of ``listener`` may import of its siblings, from the words to the edge.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "formats": {"core"},
    "rules": {"core", "formats"},
    "runtime": {"core", "formats"},
    "settings": {"core", "formats", "rules"},
    "intake": {"core", "formats", "rules", "runtime"},
    "dispatch": {"core", "formats", "rules", "runtime", "settings"},
    "jobs": {"core", "formats", "rules", "runtime", "settings", "intake"},
    "setup": {"core", "formats", "rules", "settings"},
    "store": {"core"},
    "emulator": {"core", "formats", "http"},
    "aliyun": {"core", "formats", "runtime", "settings"},
    "http": {"core", "runtime"},
}
#: These join the sides: each may import everything above, and those before it here.
EDGES = (
    "client",
    "async_client",
    "testing",
    "pytest_plugin",
    "explanations",
    "api",
    "pages",
    "daemon",
    "checks",
    "demo",
    "cli",
    "__main__",
)
ALLOWED |= {name: {*ALLOWED, *EDGES[:place]} for place, name in enumerate(EDGES)}

#: Folders that decide and coordinate: what they do can be tested without network, disk, database or process.
WITHOUT_IO = ("core", "formats", "rules", "intake", "dispatch", "jobs", "setup")
