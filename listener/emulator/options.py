"""What an emulator can be told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from listener.emulator.faults import Fault

#: The pipeline that every emulator has from its start: Active, with no notification bound to it.
DEFAULT_PIPELINE_ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one emulator behaves. The defaults are those of the documented services."""

    host: str = "127.0.0.1"
    port: int = 0  #: 0 takes a free port
    access_key_id: str = "testKeyId"
    access_key_secret: str = field(default="testKeySecret", repr=False)
    seed: int | None = None  #: makes ids, failures and faults repeatable
    queues: tuple[str, ...] = ()  #: queues that are there from the start

    #: Keep a receipt handle valid after ChangeMessageVisibility has given out the next one. The documentation reads
    #: as strict; the integration tests of the official PHP SDK want lenient.
    lenient_handles: bool = False

    job_seconds: float = 1.0  #: how long a job is Analysing
    durations: Mapping[str, float] = field(default_factory=dict)  #: the same for single functions
    concurrency: int = 10  #: jobs that run at the same time, over all pipelines
    queue_limit: int = 10_000  #: jobs that may wait in one pipeline
    calls_per_second: int = 100  #: per API action; 0 switches throttling off
    fail_rate: float = 0.0  #: share of the jobs that end in Fail
    lost_rate: float = 0.0  #: share of the callbacks that are never sent
    unknown_rate: float = 0.0  #: share of the jobs that queries do not find
    #: TextToSpeech is answered in the reply to its submission, and the documentation does not say whether it is also
    #: called back. Ours is, so that every function has a callback.
    text_to_speech_callback: bool = True
    malformed: bool = False  #: query results in the ill-formed shapes that the documentation shows
    faults: tuple[Fault, ...] = ()  #: set from the start
