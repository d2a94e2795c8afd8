from __future__ import annotations

from datetime import timedelta

import pytest

from listener.core.errors import Offer, SettingsError
from listener.core.pull import DEFAULT_LEASE, PullHandler
from listener.dispatch.handler_loader import load
from listener.testing import HandlerRunner
from tests.support.results import a_job_result


@pytest.mark.parametrize(
    ("options", "lease"),
    [({}, DEFAULT_LEASE), ({"lease": "5m"}, timedelta(minutes=5))],
    ids=["default", "5m"],
)
def test_each_result_is_left_to_applications(options: dict[str, str], lease: timedelta) -> None:
    handler = load("pull", options, where="here")

    assert handler == PullHandler(lease=lease)
    with pytest.raises(Offer):
        handler(a_job_result())


@pytest.mark.parametrize("lease", ["0s", "2h"])
def test_a_lease_out_of_bounds_is_refused(lease: str) -> None:
    with pytest.raises(SettingsError, match=r"here: handler 'pull'.*must be between 1s and 1h"):
        load("pull", {"lease": lease}, where="here")


def test_the_report_of_an_attempt_says_that_it_is_offered() -> None:
    with HandlerRunner(PullHandler()) as runner:
        report = runner.run(a_job_result())

    assert (report.outcome, report.spent) == ("offered", False)
