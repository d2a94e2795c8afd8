"""MkDocs hooks: the pages at the repository's root become pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

#: Files at the root and their names on the site.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, with links between pages turned into links inside the site."""
    root = Path(config.config_file_path).parent
    project = re.escape(f"{config.repo_url}/blob/main/")
    for name, uri in PAGES.items():
        text = (root / name).read_text("utf-8")
        text = re.sub(rf"{project}docs/([\w-]+\.md)", r"\1", text)
        text = re.sub(rf"{re.escape(config.repo_url)}/raw/main/docs/([\w-]+\.png)", r"\1", text)
        text = re.sub(rf"{project}({'|'.join(map(re.escape, PAGES))})", lambda found: PAGES[found[1]], text)
        files.append(File.generated(config, uri, content=text))
    return files
