"""The options of an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from listener.emulator.faults import Fault

#: The pipeline that every emulator has from the start: Active, without notification.
DEFAULT_PIPELINE_ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one emulator behaves. The defaults are those of the documented services."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    host: str = "127.0.0.1"
    port: int = 0  #: 0 picks a free port
    access_key_id: str = "testKeyId"
    access_key_secret: str = field(default="testKeySecret", repr=False)
    seed: int | None = None  #: makes ids, failures and faults reproducible
    queues: tuple[str, ...] = ()  #: queues that exist from the start

    #: Keep a receipt handle valid after ChangeMessageVisibility has issued a new one. The documentation suggests
    #: strict handles; the integration tests of the official PHP SDK require lenient ones.
    lenient_handles: bool = False

    data: Path | None = None  #: the folder in which state outlasts the process; None: in memory only
    time_scale: float = 1.0  #: seconds that pass in each second
    job_seconds: float = 1.0  #: how long a job is Analysing
    durations: Mapping[str, float] = field(default_factory=dict)  #: the same for single functions
    concurrency: int = 10  #: jobs that run at the same time, over all pipelines
    queue_limit: int = 10_000  #: jobs that may wait in one pipeline
    calls_per_second: int = 100  #: per API action; 0: no limit
    fail_rate: float = 0.0  #: fraction of jobs that end in Fail
    lost_rate: float = 0.0  #: fraction of callbacks that are never sent
    unknown_rate: float = 0.0  #: fraction of jobs that queries do not find
    #: TextToSpeech is answered in the reply to its submission, and the documentation does not say whether it is also
    #: called back. Ours is, so that every function has a callback.
    text_to_speech_callback: bool = True
    #: Callbacks of FpShot and MediaCensor have their members in a ``…Notify`` member; the documentation shows both.
    nested_notify: bool = False
    malformed: bool = False  #: query results in the ill-formed shapes that the documentation shows
    faults: tuple[Fault, ...] = ()  #: active from the start
