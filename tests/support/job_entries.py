"""Jobs as the replies to queries contain them, one of each kind, in the spelling of the official SDK.

The values are those of the documentation where it has any.
"""

from __future__ import annotations

import json
from typing import Any, Final

_PROPERTIES: Final[dict[str, Any]] = {
    "Bitrate": "1630.045",
    "Duration": "17.226000",
    "FileFormat": "QuickTime / MOV",
    "FileSize": "3509895",
    "Format": {"FormatName": "mov,mp4,m4a,3gp,3g2,mj2", "Size": "3509895"},
    "Fps": "25",
    "Height": "720",
    "Streams": {
        "AudioStreamList": {"AudioStream": [{"Index": "1", "CodecName": "aac"}]},
        "SubtitleStreamList": {"SubtitleStream": []},
        "VideoStreamList": {"VideoStream": [{"Index": "0", "CodecName": "h264", "Width": "1280"}]},
    },
    "Width": "1280",
}


def oss_file(key: str, bucket: str = "media") -> dict[str, str]:
    return {"Bucket": bucket, "Location": "oss-cn-hangzhou", "Object": key}


ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "Transcode": {
        "JobId": "1",
        "State": "TranscodeSuccess",
        "Input": oss_file("in%2Fa.mov"),
        "Output": {
            "OutputFile": oss_file("out%2F%E6%97%A9.mp4"),
            "OutSubtitleList": {
                "OutSubtitle": [
                    {"Map": "0:s:0", "Success": "true", "OutSubtitleFile": oss_file("out/a.srt")},
                    {"Map": "0:s:1", "Success": "false", "OutSubtitleFile": oss_file("out/b.srt")},
                ]
            },
            "Properties": _PROPERTIES,
            "TemplateId": "S00000001-000020",
        },
        "Percent": 100,
    },
    "Snapshot": {
        "Id": "1",
        "State": "Success",
        "Count": "3",
        "TileCount": "1",
        "Input": oss_file("a/b/c.flv"),
        "SnapshotConfig": {
            "OutputFile": oss_file("%7BObjectPrefix%7D%7BFileName%7D%7BCount%7D.jpg"),
            "TileOutputFile": oss_file("tiles/{TileCount}.jpg"),
            "TileOut": {"Lines": "10"},
            "Width": "640",
            "Height": "360",
            "TimeArray": {"TimePointList": ["0", "5000", "10000"]},
        },
    },
    "MediaInfo": {"JobId": "1", "State": "Success", "Async": True, "Properties": _PROPERTIES},
    "Analysis": {
        "Id": "1",
        "State": "Success",
        "TemplateList": {
            "Template": [
                {"Id": "S00000000-000020", "Name": "FLV-UD", "State": "Normal", "Video": {"Codec": "H.264"}}
            ]
        },
    },
    "MediaCensor": {
        "JobId": "1",
        "State": "Success",
        "Suggestion": "block",
        "TitleCensorResult": {
            "Suggestion": "review",
            "Label": "ad",
            "Scene": "antispam",
            "Rate": "99.91",
        },
        "AudioCensorResult": {"Suggestion": "pass", "Label": "normal"},
        "CoverImageCensorResults": {
            "CoverImageCensorResult": [
                {
                    **oss_file("cover.jpg", "covers"),
                    "Results": {"Result": [{"Suggestion": "pass", "Scene": "porn"}]},
                }
            ]
        },
        "VensorCensorResult": {
            "NextPageToken": "ae0f",
            "CensorResults": {"CensorResult": [{"Suggestion": "block", "Label": "flag"}]},
            "VideoTimelines": {
                "VideoTimeline": [
                    {
                        "Timestamp": "00:02:59.999",
                        "Object": "output00001.jpg",
                        "CensorResults": {"CensorResult": [{"Suggestion": "block", "Rate": "100"}]},
                    }
                ]
            },
        },
        "VideoCensorConfig": {"OutputFile": oss_file("output{Count}.jpg", "censored")},
    },
    "FpShot": {
        "Id": "1",
        "State": "Success",
        "FpShotResult": {
            "FpShots": {
                "FpShot": [
                    {
                        "PrimaryKey": "123456",
                        "Similarity": "0.8914769887924194",
                        "FpShotSlices": {
                            "FpShotSlice": [
                                {
                                    "Input": {"Start": "46.0", "Duration": "48.0"},
                                    "Duplication": {"Start": "1260.0", "Duration": "48.0"},
                                }
                            ]
                        },
                    }
                ]
            },
            "TextFpShots": {
                "TextFpShot": [
                    {
                        "PrimaryKey": "7",
                        "TextFpShotSlices": {
                            "TextFpShotSlice": [
                                {
                                    "InputText": "mine",
                                    "DuplicationText": "known",
                                    "InputFragment": {"Start": "1", "Duration": "2"},
                                    "Similarity": "1",
                                }
                            ]
                        },
                    }
                ]
            },
        },
    },
    "smarttag": {
        "JobStatus": "Success",
        "RequestId": "1",
        "Results": {
            "Result": [
                {"Type": "TextLabel", "Data": json.dumps({"tags": [{"name": "地域", "value": "中国"}]})},
            ]
        },
    },
    "Workflow": {
        "RunId": "1",
        "State": "Completed",
        "Name": "publish",
        "ActivityList": {
            "Activity": [
                {
                    "Name": "Act-Report",
                    "Type": "Report",
                    "State": "Success",
                    "StartTime": "2020-04-29T11:40:00Z",
                },
                {"Name": "Act-Skip", "Type": "Transcode", "State": "Skipped"},
                {
                    "Name": "Act-1",
                    "Type": "Transcode",
                    "JobId": "2",
                    "State": "Fail",
                    "Code": "InvalidParameter",
                    "Message": "bad",
                    "StartTime": "2020-04-29T11: 33: 32Z",
                    "EndTime": "2020-04-29T11:39:00Z",
                },
            ]
        },
    },
}
