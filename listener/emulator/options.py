"""The options of an emulator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from listener.core.job_kinds import IPRODUCTION, JOB_KINDS
from listener.emulator.faults import Fault
from listener.emulator.mns.arguments import QUEUE_NAME_LENGTH, is_queue_name
from listener.emulator.mps.sample_results import FUNCTION_NAMES, FUNCTIONS_WITHOUT_RESULT
from listener.emulator.virtual_clock import FASTEST, SLOWEST

#: The pipeline that every emulator has from the start: Active, without notification.
DEFAULT_PIPELINE_ID = "88c6ca184c0e47b2a17a1b6ef2c6a1f0"

#: The lowest and the highest value of each option that is a number.
RANGES = {
    "port": (0, 65_535),
    "time_scale": (SLOWEST, FASTEST),
    "job_seconds": (0, math.inf),
    "concurrency": (0, math.inf),
    "queue_limit": (0, math.inf),
    "calls_per_second": (0, math.inf),
    "fail_rate": (0, 1),
    "lost_rate": (0, 1),
    "unknown_rate": (0, 1),
}
#: The names that ``durations`` may have: of the functions, and of the kinds of jobs that have none.
JOB_NAMES = (
    *FUNCTION_NAMES,
    *FUNCTIONS_WITHOUT_RESULT,
    *(kind.name for kind in JOB_KINDS if kind is not IPRODUCTION),
)


class OptionError(ValueError):
    """An option whose value cannot work."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option
        self.reason = reason  #: without the name of the option, which the command line spells in another way


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one emulator behaves. The defaults are those of the documented services. Raises OptionError."""

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

    def __post_init__(self) -> None:
        for option, (low, high) in RANGES.items():
            _check_range(option, getattr(self, option), low=low, high=high)
        for name, seconds in self.durations.items():
            _check_job_name(name)
            _check_range("durations", seconds, low=0, high=math.inf)
        for option in ("access_key_id", "access_key_secret"):
            if not getattr(self, option).strip():
                raise OptionError(option, "must not be empty")
        for queue in self.queues:
            if not is_queue_name(queue):
                raise OptionError(
                    "queues",
                    f"{queue!r} is not a valid queue name; use up to {QUEUE_NAME_LENGTH} letters, digits and "
                    "hyphens, starting with a letter or digit",
                )


def _check_range(option: str, value: float, *, low: float, high: float) -> None:
    """Also refuses NaN and infinity."""
    if not (math.isfinite(value) and low <= value <= high):
        rule = f"from {low} to {high:.0f}" if math.isfinite(high) else f"a finite number, at least {low}"
        raise OptionError(option, f"{value} is not valid; it must be {rule}")


def _check_job_name(name: str) -> None:
    if name not in JOB_NAMES:
        near = get_close_matches(name, JOB_NAMES, n=1)
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        raise OptionError(
            "durations",
            f"{name!r} is neither a function nor a kind of jobs{guess}; known: {', '.join(JOB_NAMES)}",
        )
