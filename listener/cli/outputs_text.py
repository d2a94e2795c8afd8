"""The outputs of a job for people: one line for each file, cover image and segment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from listener.formats.nouns import noun

#: Members that are shown in another way, or only in JSON.
_ELSEWHERE: Final = frozenset({"source", "malformed", "raw"})


def output_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Names and lines from the document that handlers get; without the vendor's own text, which JSON has."""
    return {name: _LINES.get(name, _lines)(document[name]) for name in document if name not in _ELSEWHERE} | {
        "files": _files(document)
    }


def activity_lines(activities: Sequence[Mapping[str, Any]]) -> list[str]:
    """The activities of a workflow."""
    return list(map(_facts, activities))


def outputs_summary(document: Mapping[str, Any]) -> str:
    """How many outputs of each kind there are, such as ``3 covers``."""
    kinds = ("covers", "files", "segments", "splits", "inline")
    shown = output_fields(document)
    counts = {kind: len(shown[kind]) for kind in kinds}
    return ", ".join(f"{number} {noun(number, kind)}" for kind, number in counts.items() if number)


def _lines(value: Any) -> Any:
    """For members without a form of their own: names and values of an object, else the value itself."""
    if isinstance(value, list):
        return [_facts(item) if isinstance(item, dict) else item for item in value]
    return _facts(value) if isinstance(value, dict) else value


def _facts(item: Mapping[str, Any]) -> str:
    facts = {name: value for name, value in item.items() if value not in (None, "", [], {})}
    return ", ".join(
        f"{name} {_json(value) if isinstance(value, dict | list) else value}" for name, value in facts.items()
    )


def _files(document: Mapping[str, Any]) -> list[str]:
    """Those that are no covers."""
    covers = set(map(_place, document["covers"]))
    return [
        ", ".join(filter(None, [_place(file), _facts(_without_place(file))]))
        for file in document["files"]
        if _place(file) not in covers
    ]


def _place(file: Mapping[str, Any]) -> str:
    return str(file["url"] or file["path"])


def _without_place(file: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name not in ("path", "bucket", "url")}


def _cover(cover: Mapping[str, Any]) -> str:
    score = "" if cover["score"] is None else f", score {cover['score']:g}"
    time = "" if cover["time_ms"] is None else f", at {cover['time_ms'] / 1000:g} s"
    return f"{_place(cover)}{score}{time}"


def _segment(segment: Mapping[str, Any]) -> str:
    return f"{segment['start']:g} s to {segment['end']:g} s  {segment['title']}".rstrip()


def _seconds(times: Sequence[float]) -> str:
    return ", ".join(f"{each:g} s" for each in times)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _each(line: Callable[[Any], str]) -> Callable[[Sequence[Any]], list[str]]:
    return lambda items: list(map(line, items))


#: How the members of outputs are shown that have a form of their own.
_LINES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "inline": _each(lambda file: f"{len(file['content'])} characters of base64"),
    "covers": _each(_cover),
    "segments": _each(_segment),
    "splits": _each(_segment),
    "beats": _seconds,
    "down_beats": _seconds,
    "details": _each(_json),
    "others": _each(_json),
}
