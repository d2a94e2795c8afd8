"""Reads what the AI kinds of jobs found: MediaCensor, FpShot and smarttag, in replies and in callbacks.

Callbacks of MediaCensor name some members differently than the replies to its query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from listener.core.outputs import FingerprintMatch, MatchedPart, ModerationResult, OutputFile, TagResult
from listener.formats import lenient_json
from listener.formats.found_outputs import FoundOutputs
from listener.formats.json_members import Members, as_text, excerpt, items, number
from listener.formats.oss_files import decoded_key, in_bucket, oss_file

_PARTS: Final = {
    "TitleCensorResult": "title",
    "DescCensorResult": "description",
    "BarrageCensorResult": "barrage",
    "AudioCensorResult": "audio",
}
_COVERS: Final = ("CoverImageCensorResults", "ImageCensorCensorResult")
_VIDEOS: Final = ("VensorCensorResult", "VideoCensorResult", "TopVideoCensorResult")
#: By these members a callback reports what was found.
MODERATION_MEMBERS: Final = ("Suggestion", "Result", *_PARTS, *_COVERS, *_VIDEOS)
_SUGGESTIONS: Final = {"pass": "Pass", "review": "Review", "block": "Block"}
#: ``00:02:59.999``
_POSITION: Final = re.compile(r"(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")


def moderation(job: Members, found: FoundOutputs) -> None:
    """What MediaCensor decided, as a whole and about each part of the content."""
    if suggestion := _suggestion(job.take("Suggestion") or job.take("Result")):
        found.set("suggestion", suggestion)
    for name, part in _PARTS.items():
        for result in _objects(job.take(name), name, found):
            found.add("moderation", _moderation_result(part, result))
    for name in _COVERS:
        for cover in _objects(job.take(name), "CoverImageCensorResult", found):
            image = oss_file(cover)
            for result in _objects(_either(Members(cover), "Results", "Result"), "Result", found):
                found.add("moderation", _moderation_result("cover", result, image=image))
    folder = Members(job.get("VideoCensorConfig")).get("OutputFile")
    for name in _VIDEOS:
        video = Members(job.take(name))
        _video(video, folder, found)
        if left := video.left():
            job.put(name, left)


def _video(video: Members, folder: Any, found: FoundOutputs) -> None:
    """The results about the whole video, and those at single times, each with a snapshot."""
    for result in _objects(_either(video, "CensorResults", "CensorResult"), "CensorResult", found):
        found.add("moderation", _moderation_result("video", result))
    for moment in _objects(_either(video, "VideoTimelines", "Timelines"), "VideoTimeline", found):
        members = Members(moment)
        time_ms = _milliseconds(members.get("Timestamp"))
        image = _snapshot(as_text(members.get("Object")), folder, time_ms)
        if image:
            found.add("files", image)
        for result in _objects(_either(members, "CensorResults", "CensorResult"), "CensorResult", found):
            found.add("moderation", _moderation_result("video", result, time_ms=time_ms, image=image))


def _moderation_result(
    part: str, result: dict[str, Any], *, time_ms: float | None = None, image: OutputFile | None = None
) -> ModerationResult:
    members = Members(result)
    return ModerationResult(
        part=part,
        suggestion=_suggestion(members.get("Suggestion")),
        label=as_text(members.get("Label")),
        scene=as_text(members.get("Scene")),
        rate=number(_either(members, "Rate", "Score")),
        time_ms=time_ms,
        image=image,
    )


def _snapshot(key: str, folder: Any, time_ms: float | None) -> OutputFile | None:
    """A snapshot at this time, in the bucket of the snapshots that the job was given."""
    if not key:
        return None
    members = Members(folder)
    file = in_bucket(as_text(members.get("Bucket")), as_text(members.get("Location")), decoded_key(key))
    return replace(file, role="snapshot", time_ms=time_ms)


def _suggestion(value: Any) -> str:
    """As documented: the samples have it in lower case, too."""
    text = as_text(value).strip()
    return _SUGGESTIONS.get(text.casefold(), text)


def _milliseconds(value: Any) -> float | None:
    found = _POSITION.fullmatch(as_text(value).strip())
    return (int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])) * 1000 if found else None


def matches(job: Members, found: FoundOutputs) -> None:
    """The known files that FpShot found the input to be similar to; a callback has only those by their pictures."""
    result = Members(job.take("FpShotResult"))
    similar = (
        ("video", result.take("FpShots") or job.take("FpShots"), "FpShot"),
        ("audio", result.take("AudioFpShots"), "FpShot"),
        ("text", result.take("TextFpShots"), "TextFpShot"),
    )
    for media, value, name in similar:
        for match in _objects(value, name, found):
            members = Members(match)
            parts = _objects(_either(members, f"{name}Slices", "FpShotSlices"), f"{name}Slice", found)
            found.add(
                "matches",
                FingerprintMatch(
                    media=media,
                    key=as_text(members.get("PrimaryKey")),
                    similarity=number(members.get("Similarity")),
                    parts=tuple(_matched_part(part) for part in parts),
                ),
            )
    if left := result.left():
        job.put("FpShotResult", left)


def _matched_part(part: dict[str, Any]) -> MatchedPart:
    members = Members(part)
    mine, known = Members(_either(members, "Input", "InputFragment")), Members(members.get("Duplication"))
    return MatchedPart(
        start=number(mine.get("Start")),
        duration=number(mine.get("Duration")),
        known_start=number(known.get("Start")),
        known_duration=number(known.get("Duration")),
        similarity=number(members.get("Similarity")),
        text=as_text(members.get("InputText")),
        known_text=as_text(members.get("DuplicationText")),
    )


def tags(job: Members, found: FoundOutputs) -> None:
    """The analyses of smart tagging, whose ``Data`` is JSON text."""
    for result in _objects(job.take("Results"), "Result", found):
        members = Members(result)
        kind, data = as_text(members.get("Type")), members.get("Data")
        if isinstance(data, str):
            try:
                data = lenient_json.parse(data)
            except lenient_json.BadJson as error:
                found.problem(f"Data of {kind or 'a result'} is {error}")
        found.add("tags", TagResult(type=kind, data=data))


def _objects(value: Any, name: str, found: FoundOutputs) -> Iterator[dict[str, Any]]:
    """The objects of a list; anything else in it is a problem."""
    for item in items(value, name):
        if isinstance(item, dict):
            yield item
        else:
            found.problem(f"{name} is {excerpt(item)}, which is not an object")


def _either(members: Members, name: str, other: str) -> Any:
    """The member of this name, or else the other one; it is taken."""
    value = members.take(name)
    return members.take(other) if value is None else value
