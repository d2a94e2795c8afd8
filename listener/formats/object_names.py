"""Placeholders in the names of files: MPS replaces them, but a reply may repeat the name as it was submitted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from listener.core.outputs import OutputFile

#: All placeholders that are documented for names of outputs; anything else in braces is part of the name.
_PLACEHOLDER: Final = re.compile(
    r"\{(?:ObjectPrefix|FileName|ExtName|Count|TileCount|SnapshotTime|DestMd5|DestAvgBitrate|RunId|MediaId)\}"
)


def named_after(file: OutputFile, source: str) -> OutputFile:
    """The file with the placeholders that stand for parts of the input's key; unchanged if the key is unknown.

    Of ``a/b/c.flv`` these are ``a/b/``, ``c`` and ``flv``, by the documented examples.
    """
    if not source:
        return file
    folder, slash, name = source.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    values = {
        "{ObjectPrefix}": folder + slash,
        "{FileName}": stem if dot else name,
        "{ExtName}": extension if dot else "",
    }

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), text)

    return replace(file, path=filled(file.path), url=filled(file.url))


def unresolved(key: str) -> Sequence[str]:
    """The placeholders that are left in a key."""
    return _PLACEHOLDER.findall(key)
