"""Reads the ``Properties`` of a media file, in the replies of QueryMediaInfoJobList and QueryJobList.

Units are not documented; in the documented sample, size, duration and bit rate agree for bytes, seconds and kbit/s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from listener.core.outputs import MediaProperties
from listener.formats.found_outputs import FoundOutputs
from listener.formats.json_members import Members, as_text, excerpt, items, number, whole_number

N = TypeVar("N", int, float)


def read(value: Any, found: FoundOutputs) -> MediaProperties | None:
    """The properties; None if there are none. Older documentation has most of them in ``Format`` and the streams."""
    if not isinstance(value, dict) or not value:
        return None
    members = Members(value)
    streams = Members(members.take("Streams"))
    video, audio, subtitles = (
        tuple(items(streams.take(f"{name}StreamList"), f"{name}Stream"))
        for name in ("Video", "Audio", "Subtitle")
    )
    picture, container = Members(video[0] if video else None), Members(members.get("Format"))

    def measured(
        reader: Callable[[Any], N | None], name: str, other: Members, other_name: str = ""
    ) -> N | None:
        given = members.take(name)
        if given in (None, ""):
            given = other.get(other_name or name)
        if given in (None, ""):
            return None
        read_value = reader(given)
        if read_value is None:
            found.problem(f"{name} is {excerpt(given)}, which is not a number")
        return read_value

    names = (members.take("FileFormat"), container.get("FormatLongName"), container.get("FormatName"))
    return MediaProperties(
        format=next((as_text(name) for name in names if name), None),
        width=measured(whole_number, "Width", picture),
        height=measured(whole_number, "Height", picture),
        duration=measured(number, "Duration", container),
        bit_rate=measured(number, "Bitrate", container),
        frame_rate=measured(number, "Fps", picture),
        size=measured(whole_number, "FileSize", container, "Size"),
        video_streams=video,
        audio_streams=audio,
        subtitle_streams=subtitles,
        others=members.left() | ({"Streams": left} if (left := streams.left()) else {}),
    )
