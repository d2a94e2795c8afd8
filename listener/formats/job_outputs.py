"""Reads the outputs of a job from the ``Result`` that QueryIProductionJob returns.

``Result`` is JSON text whose ``Data`` is usually JSON text again, in a shape specific to the function; some
documented samples are not valid JSON. So values are read by shape rather than by function name, known errors of the
documented samples are repaired, and whatever cannot be read is reported and stored in ``raw``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from listener.core.outputs import CoverImage, InlineFile, OutputFile, Outputs, Segment
from listener.formats import lenient_json
from listener.formats.found_outputs import FoundOutputs
from listener.formats.json_members import as_text, excerpt, folded, listed, number
from listener.formats.oss_files import located
from listener.formats.unicode_text import storable

#: How often JSON text may be nested in JSON text; twice is documented.
MAX_WRAPS: Final = 5
#: How deep results may be nested in results; once is documented.
MAX_NESTING: Final = 5
#: Members of a reply that are not outputs of the function.
_ENVELOPE: Final = frozenset({"code", "message", "data", "details"})
_IDENTITY: Final = frozenset({"functionname", "jobid", "requestid", "state", "type", "userdata"})

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}+={0,2}+")
#: Quoted text, closed or not; a bare word with an optional colon; full-width punctuation; adjacent objects.
_TOKEN: Final = re.compile(
    r'(?P<text>"(?:[^"\\]++|\\.)*+"?)'
    r"|(?P<word>[A-Za-z_][\w-]*+)(?P<colon>\s*+[:\uff1a])?"
    r"|(?P<sign>[\uff1a\uff0c])"
    r"|(?P<closed>[}\]])(?=\s*+[{\[])",
    re.DOTALL,
)
_SIGNS: Final = {"\uff1a": ":", "\uff0c": ","}


def read(function: str, result_text: str | None, *, output: str = "") -> Outputs:
    """Read a ``Result``; never raises for any text, and takes linear time.

    ``output`` is the Output of the job, an OSS URL, which determines the bucket of the paths. No text, ``null`` and
    white space are an empty result.
    """
    raw = storable(result_text or "")
    reading = _Reading(speech=function.casefold() == "texttospeech", home=output)
    reading.document(raw)
    return reading.found.outputs(raw)


def _repaired(text: str) -> Any:
    """The value of text that is JSON except for the errors of the documented samples. Raises lenient_json.BadJson.

    These are: adjacent objects without an enclosing array, full-width colons and commas between members, and
    unquoted member names.
    """
    text = _TOKEN.sub(_repair_token, text)
    try:
        return lenient_json.parse(text)
    except lenient_json.BadJson:
        return lenient_json.parse(f"[{text}]")


def _repair_token(match: re.Match[str]) -> str:
    if match["colon"]:
        return f'"{match["word"]}":'
    if match["sign"]:
        return _SIGNS[match["sign"]]
    return f"{match['closed']}," if match["closed"] else match[0]


class _Reading:
    """Collects the contents of a result in one traversal."""

    def __init__(self, *, speech: bool, home: str) -> None:
        self._speech = speech
        self._home = home
        self.found = FoundOutputs()
        self._depth = 0

    def document(self, text: str) -> None:
        """Read a complete Result."""
        value = self._unwrapped("Result", text)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict) and folded(part).keys() & (_ENVELOPE | _IDENTITY):
                self._envelope(folded(part))
            else:
                self._data(part)

    def _envelope(self, members: Mapping[str, Any]) -> None:
        for name in ("code", "message"):
            if members.get(name) is not None:
                self.found.set(name, as_text(members[name]))
        self._data(self._unwrapped("Data", members.get("data")))
        self._details(self._unwrapped("Details", members.get("details")))
        self._data({name: members[name] for name in members if name not in _ENVELOPE | _IDENTITY})

    def _details(self, value: Any) -> None:
        for detail in listed(value):
            self.found.add("details", detail)
            members = folded(detail) if isinstance(detail, dict) else {}
            failed = str(members.get("status") or "Success").casefold() != "success"
            if "output" in members and not failed:
                self._file(members["output"])

    def _data(self, value: Any) -> None:
        for item in listed(value):
            if isinstance(item, dict):
                self._item(item, folded(item))
            elif isinstance(item, str):
                self._file(item)
            else:
                self.found.add("others", item)

    def _item(self, item: dict[str, Any], members: dict[str, Any]) -> None:
        """One output, classified by its members."""
        if "file" in members or "output" in members:
            self._file(members.get("file", members.get("output")))
        elif "url" in members:
            self._cover(members)
        elif {"begintime", "endtime"} <= members.keys():
            self._segment("splits", item, ("begintime", "endtime"))
        elif {"start", "end"} <= members.keys():
            self._segment("segments", item, ("start", "end"))
        else:
            self._group(item)

    def _group(self, item: dict[str, Any]) -> None:
        """An object that contains lists of outputs."""
        others = {}
        for name, value in item.items():
            if name.casefold() in ("result", "splitresult"):
                self._group_result(name, value)
            elif name.casefold() in ("beatlist", "downbeatlist"):
                self._beats("beats" if name.casefold() == "beatlist" else "down_beats", value)
            else:
                others[name] = value
        if others:
            self.found.add("others", others)

    def _group_result(self, name: str, value: Any) -> None:
        """A list of outputs, or a complete result again, as in the reply of TextToSpeech."""
        if self._depth == MAX_NESTING:
            self.found.problem(f"{name} is nested in {name} more than {MAX_NESTING} levels deep")
            return
        self._depth += 1
        if isinstance(value, str):
            self.document(value)
        else:
            self._data(value)
        self._depth -= 1

    def _beats(self, name: str, value: Any) -> None:
        for beat in listed(self._unwrapped(name, value)):
            seconds = number(beat)
            if seconds is None:
                self.found.problem(f"a beat is {excerpt(beat)}, which is not a number of seconds")
            else:
                self.found.add(name, seconds)

    def _file(self, value: Any) -> OutputFile | None:
        if not isinstance(value, str) or not value.strip():
            self.found.problem(f"a file is {excerpt(value)}, which is not a path")
            return None
        if self._is_inline(value):
            self.found.add("inline", InlineFile(content=value))
            return None
        file = located(value, output=self._home)
        self.found.add("files", file)
        return file

    def _is_inline(self, value: str) -> bool:
        """Whether this is the content of a file: base64 of RIFF, or for TextToSpeech of anything."""
        if not (self._speech or value.startswith("UklGR")) or not _BASE64.fullmatch(value):
            return False
        try:
            return bool(base64.b64decode(value, validate=True))
        except binascii.Error:
            return False

    def _cover(self, members: Mapping[str, Any]) -> None:
        file = self._file(members["url"])
        if file is None:
            return
        score, time_ms = (number(members.get(name)) for name in ("score", "time"))
        for name, found in (("score", score), ("time", time_ms)):
            if found is None and members.get(name) is not None:
                self.found.problem(f"a cover's {name} is {excerpt(members[name])}, which is not a number")
        self.found.add(
            "covers",
            CoverImage(path=file.path, bucket=file.bucket, url=file.url, score=score, time_ms=time_ms),
        )

    def _segment(self, kind: str, item: dict[str, Any], ends: tuple[str, str]) -> None:
        members = folded(item)
        start, end = (number(members[name]) for name in ends)
        if start is None or end is None:
            first, last = (excerpt(members[name]) for name in ends)
            self.found.problem(f"a segment is from {first} to {last}, which are not numbers of seconds")
            self.found.add("others", item)
            return
        self.found.add(kind, Segment(start=start, end=end, title=as_text(members.get("title") or "")))

    def _unwrapped(self, what: str, value: Any) -> Any:
        """The value inside nested JSON text; None if it is empty or cannot be read."""
        for _ in range(MAX_WRAPS):
            if not isinstance(value, str):
                return value
            text = value.strip("\ufeff \t\r\n")
            if not text:
                return None
            try:
                value = self._parsed(text)
            except lenient_json.BadJson as error:
                self.found.problem(f"{what} is {error}")
                return None
        if isinstance(value, str):
            self.found.problem(f"{what} is JSON text nested in JSON text more than {MAX_WRAPS} times")
            return None
        return value

    def _parsed(self, text: str) -> Any:
        try:
            return lenient_json.parse(text)
        except lenient_json.BadJson as error:
            try:
                value = _repaired(text)
            except lenient_json.BadJson:
                raise error from None  # positions refer to the original text, not the repaired copy
        self.found.repaired = True
        return value
