"""Events of IMS and VOD as the vendor documents them (docs/mps.md), with any member changed.

``an_ims_event("ProduceMediaComplete", JobId="j")`` and ``a_vod_event("TranscodeComplete", VideoId="v")`` are JSON text.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tests.support.builders import ABSENT

EVENT_TIME: Final = "2024-07-25T09:21:36Z"


def an_ims_event(type_: str, *, time: str = EVENT_TIME, **body: Any) -> str:
    """Members in ``MessageBody``, which says Success unless given another ``Status``."""
    members = {"Status": "Success", **body}
    event = {
        "EventType": type_,
        "UserId": 1234567890123456,
        "EventTime": time,
        "MessageBody": {name: value for name, value in members.items() if value is not ABSENT},
    }
    return json.dumps(event)


def a_vod_event(type_: str, *, time: Any = EVENT_TIME, **members: Any) -> str:
    """Members at the top."""
    event = {"EventTime": time, "EventType": type_, "Status": "success", **members}
    return json.dumps({name: value for name, value in event.items() if value is not ABSENT})
