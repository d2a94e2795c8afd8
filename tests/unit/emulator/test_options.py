"""What an emulator can be started with, from Python and from the command line alike."""

from __future__ import annotations

from typing import Any

import pytest

from listener.emulator.options import OptionError, Options
from tests.support.cases import each_case


@each_case(
    ("option", "value"),
    [
        ("port", 65_536),
        ("time_scale", 0.0),
        ("time_scale", float("nan")),
        ("job_seconds", float("inf")),
        ("durations", {"Cover": -1.0}),
        ("durations", {"Cover": float("nan")}),
        ("concurrency", -1),
        ("queue_limit", -1),
        ("calls_per_second", -1),
        ("fail_rate", float("nan")),
        ("lost_rate", 1.1),
        ("unknown_rate", -0.1),
        ("access_key_id", ""),
        ("access_key_secret", " "),
        ("queues", ("q", "a_b")),
        ("queues", ("q" * 121,)),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_the_name_of_its_option(option: str, value: Any) -> None:
    with pytest.raises(OptionError) as refused:
        Options(**{option: value})

    assert (refused.value.option, str(refused.value).startswith(f"{option}: ")) == (option, True)


def test_the_ends_of_each_range_are_allowed() -> None:
    Options(port=65_535, time_scale=1e9, job_seconds=0, fail_rate=1, lost_rate=0, concurrency=0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Covr",
            "'Covr' is neither a function nor a kind of jobs (did you mean 'Cover'?); known: VideoH2V, ",
        ),
        ("IProduction", "known: VideoH2V, "),
    ],
)
def test_a_duration_of_what_no_job_is_called_names_what_there_is(name: str, said: str) -> None:
    with pytest.raises(OptionError) as refused:
        Options(durations={name: 5})

    assert said in refused.value.reason
    assert refused.value.reason.endswith("MediaCensor, Workflow")
