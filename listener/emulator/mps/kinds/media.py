"""Properties of media files, as MediaInfo and Transcode report them: all numbers are strings."""

from __future__ import annotations

from dataclasses import dataclass

from listener.emulator.rpc.call import Document

SECONDS = 17.226  #: the duration of every emulated file


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One emulated file."""

    width: str
    height: str
    kilobits: str = "1630.045"  #: per second
    fps: str = "25"
    container: str = "mp4"


def properties(media: Media) -> Document:
    duration = f"{SECONDS:.6f}"
    size = str(int(float(media.kilobits) * 125 * SECONDS))
    return {
        "Width": media.width,
        "Height": media.height,
        "Bitrate": media.kilobits,
        "Duration": duration,
        "Fps": media.fps,
        "FileSize": size,
        "FileFormat": media.container,
        "Format": {
            "NumStreams": "2",
            "NumPrograms": "0",
            "FormatName": media.container,
            "FormatLongName": media.container,
            "StartTime": "0.000000",
            "Duration": duration,
            "Size": size,
            "Bitrate": media.kilobits,
        },
        "Streams": {
            "VideoStreamList": {"VideoStream": [_video(media, duration)]},
            "AudioStreamList": {"AudioStream": [_audio(duration)]},
            "SubtitleStreamList": {"SubtitleStream": []},
        },
    }


def _video(media: Media, duration: str) -> Document:
    return {
        "Index": "0",
        "CodecName": "h264",
        "CodecLongName": "H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10",
        "Profile": "High",
        "Width": media.width,
        "Height": media.height,
        "PixFmt": "yuv420p",
        "Fps": media.fps,
        "AvgFPS": media.fps,
        "StartTime": "0.000000",
        "Duration": duration,
        "Bitrate": media.kilobits,
        "NumFrames": str(int(float(media.fps) * SECONDS)),
        "Lang": "und",
    }


def _audio(duration: str) -> Document:
    return {
        "Index": "1",
        "CodecName": "aac",
        "CodecLongName": "AAC (Advanced Audio Coding)",
        "SampleFmt": "fltp",
        "Samplerate": "44100",
        "Channels": "2",
        "ChannelLayout": "stereo",
        "StartTime": "0.000000",
        "Duration": duration,
        "Bitrate": "128",
        "Lang": "und",
    }
