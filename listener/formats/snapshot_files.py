"""The files of Snapshot jobs: from the reply to QuerySnapshotJobList, or from the callback alone.

MPS does not list them: it reports how many there are, and a name with a placeholder for the number. Placeholders and
the five digits of the number are documented; digits beyond five are inferred.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from listener.core.outputs import OutputFile
from listener.formats.found_outputs import FoundOutputs
from listener.formats.json_members import Members, as_text, excerpt, items, number, whole_number
from listener.formats.object_names import named_after, unresolved
from listener.formats.oss_files import at_url, oss_file

COUNT, TILE_COUNT = "{Count}", "{TileCount}"
#: Digits of the number in a name.
DIGITS: Final = 5
#: More files than this are not listed, nor more than have so many characters in their names.
MAX_FILES: Final = 10_000
MAX_CHARACTERS: Final = 2_000_000

_ENCODED_COUNT: Final = re.compile("%7BCount%7D", re.IGNORECASE)


def of_query(job: Members, found: FoundOutputs) -> None:
    """Snapshots and tiles of a job in the reply."""
    config = Members(job.get("SnapshotConfig"))
    tiles = _pattern(config.get("TileOutputFile"), job, found)
    # Documented default: the single snapshots are kept beside the tiles.
    kept = as_text(Members(config.get("TileOut")).get("IsKeepCellPic")).strip().casefold() != "false"
    if kept or not tiles:
        for file in _snapshots(config, job, found):
            found.add("files", file)
    if tiles:
        for tile in _numbered(tiles, TILE_COUNT, _count(job, "TileCount", tiles, TILE_COUNT, found), found):
            found.add("files", replace(tile, role="tile"))


def of_callback(job: Members, found: FoundOutputs) -> None:
    """Snapshots by the members that callbacks have if the times of the snapshots were given."""
    pattern = _ENCODED_COUNT.sub(COUNT, as_text(job.get("UrlPattern")))
    last, count = as_text(job.get("LastUrl")), whole_number(job.get("Count"))
    if not pattern:
        pattern = last
        if count != 1:
            found.problem("UrlPattern is missing: only the last snapshot is known")
    if count is None or COUNT not in pattern:
        if COUNT in pattern:
            found.problem(f"Count is {excerpt(job.get('Count'))}, which is not a number of snapshots")
            pattern = last
        count = 1
    times = _times(job.get("TimeArray"), count)
    width = _width(pattern, last, count, found)
    urls = (pattern.replace(COUNT, str(each).zfill(width)) for each in _numbers(pattern, count, found))
    for url, time_ms in zip(urls, times, strict=False):
        if url:
            found.add("files", replace(at_url(url), role="snapshot", time_ms=time_ms))


def _snapshots(config: Members, job: Members, found: FoundOutputs) -> Iterator[OutputFile]:
    pattern = _pattern(config.get("OutputFile"), job, found)
    if pattern is None:
        return
    count = _count(job, "Count", pattern, COUNT, found)
    points = Members(config.get("TimeArray")).get("TimePointList") or config.get("TimeArray")
    times = _times(points or (config.get("Time") if count == 1 else None), count)
    width, height = (whole_number(config.get(name)) for name in ("Width", "Height"))
    for file, time_ms in zip(_numbered(pattern, COUNT, count, found), times, strict=False):
        yield replace(file, role="snapshot", width=width, height=height, time_ms=time_ms)


def _pattern(value: Any, job: Members, found: FoundOutputs) -> OutputFile | None:
    """The file with its placeholders for numbers; None if there is none, or its name cannot be known."""
    pattern = oss_file(value)
    if pattern is None:
        return None
    source = oss_file(job.get("Input"))
    pattern = named_after(pattern, source.path if source else "")
    if left := [name for name in unresolved(pattern.path) if name not in (COUNT, TILE_COUNT)]:
        found.problem(f"the name of a file contains {left[0]}, whose value is not known")
        return None
    return pattern


def _count(job: Members, name: str, pattern: OutputFile, placeholder: str, found: FoundOutputs) -> int:
    """How many files there are: without a placeholder one at most. A single one is not always counted."""
    count, numbered = whole_number(job.get(name)), placeholder in pattern.path
    if count is None:
        if numbered or job.get(name) is not None:
            found.problem(f"{name} is {excerpt(job.get(name))}, which is not a number of files")
        count = 0 if numbered else 1
    return count if numbered else min(count, 1)


def _numbered(pattern: OutputFile, placeholder: str, count: int, found: FoundOutputs) -> Iterator[OutputFile]:
    """The files, whose names are numbered from 1 if they have a placeholder."""
    for each in _numbers(pattern.path + pattern.url, count, found):
        digits = str(each).zfill(DIGITS)
        path, url = (text.replace(placeholder, digits) for text in (pattern.path, pattern.url))
        yield replace(pattern, path=path, url=url)


def _numbers(pattern: str, count: int, found: FoundOutputs) -> range:
    limit = min(MAX_FILES, MAX_CHARACTERS // (len(pattern) + 1))
    if count > limit:
        found.problem(f"there are {count} files; only the first {limit} are listed")
    return range(1, min(count, limit) + 1)


def _times(value: Any, count: int) -> Sequence[float | None]:
    """The time of each file in milliseconds, up to the number of files that are listed; unknown unless each has one."""
    times = [number(point) for point in items(value, "TimePointList")]
    return times if len(times) == count else [None] * min(count, MAX_FILES)


def _width(pattern: str, last: str, count: int, found: FoundOutputs) -> int:
    """How many digits the numbers have, by the URL of the last file if it is given."""
    places = pattern.count(COUNT)
    if not places or not last:
        return DIGITS
    width = (len(last) - len(pattern) + places * len(COUNT)) // places
    if 0 < width <= 20 and pattern.replace(COUNT, str(count).zfill(width)) == last:
        return width
    found.problem(f"LastUrl is {excerpt(last)}, which does not follow from UrlPattern and Count")
    return DIGITS
