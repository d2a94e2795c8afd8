"""Which events of IMS (ICE) and VOD, the services that succeeded MPS, end the job that they name. See docs/mps.md.

The set of events is open: any other event is routed all the same.
"""

from __future__ import annotations

from typing import Final

#: Events about one stream, output or group of outputs: their job may have others, which are not complete yet.
_OF_PARTS: Final = frozenset(
    {
        "streamtranscodecomplete",
        "transcodecomplete",
        "mediaconvertoutputcomplete",
        "mediaconvertoutputgroupcomplete",
    }
)

#: Those that are documented, or were captured, by the names that ``EventType`` has.
DOCUMENTED: Final = (
    *("AIMediaDNAComplete", "AIProduceComplete", "BatchProduceMediaComplete", "DeleteMediaComplete"),
    *("ImageUploadComplete", "LiveRecordVideoComposeStart", "MediaConvertComplete"),
    *("MediaConvertOutputComplete", "MediaConvertOutputGroupComplete", "ProduceMediaComplete"),
    *("RegisterMediaComplete", "SnapshotComplete", "StreamTranscodeComplete", "TranscodeComplete"),
    *("TranscodeParentComplete", "UploadByURLComplete", "UploadComplete", "WorkflowTaskComplete"),
)


def is_complete(type_: str) -> bool:
    """Whether events of this type report, by their name, that something was done."""
    return type_.casefold().endswith("complete")


def is_start(type_: str) -> bool:
    """Whether events of this type report, by their name, that something has begun."""
    return type_.casefold().endswith("start")


def ends_job(type_: str) -> bool:
    """Whether the job of an event of this type has ended."""
    return is_complete(type_) and type_.casefold() not in _OF_PARTS
