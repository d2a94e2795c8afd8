"""The outputs of a job for people: one line for each file, cover image and segment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def output_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Names and lines from the document that handlers get; without the vendor's own text, which JSON has."""
    covers = document["covers"]
    cover_files = {_place(cover) for cover in covers}
    return {
        "code": document["code"],
        "message": document["message"],
        "files": [place for place in map(_place, document["files"]) if place not in cover_files],
        "covers": [_cover(cover) for cover in covers],
        "inline": [f"{len(file['content'])} characters of base64" for file in document["inline"]],
        "segments": [_segment(segment) for segment in document["segments"]],
        "splits": [_segment(split) for split in document["splits"]],
        "beats": _numbers(document["beats"]),
        "down beats": _numbers(document["down_beats"]),
        "details": list(map(_json, document["details"])),
        "others": list(map(_json, document["others"])),
        "problems": document["problems"],
    }


def outputs_summary(document: Mapping[str, Any]) -> str:
    """How many outputs of each kind there are, such as ``3 covers``."""
    kinds = ("covers", "files", "segments", "splits", "inline")
    shown = output_fields(document)
    counts = {kind: len(shown[kind]) for kind in kinds}
    return ", ".join(
        f"{number} {kind if number > 1 else kind.removesuffix('s')}"
        for kind, number in counts.items()
        if number
    )


def _place(file: Mapping[str, Any]) -> str:
    return str(file["url"] or file["path"])


def _cover(cover: Mapping[str, Any]) -> str:
    score = "" if cover["score"] is None else f"  score {cover['score']:g}"
    time = "" if cover["time_ms"] is None else f"  at {cover['time_ms'] / 1000:g} s"
    return f"{_place(cover)}{score}{time}"


def _segment(segment: Mapping[str, Any]) -> str:
    return f"{segment['start']:g} s to {segment['end']:g} s  {segment['title']}".rstrip()


def _numbers(seconds: Sequence[float]) -> str:
    return ", ".join(f"{each:g} s" for each in seconds)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
