from __future__ import annotations

from listener.handlers.log import log
from structlog.testing import capture_logs

from tests.support.cases import each_case
from tests.support.results import a_job_result


def test_one_line_holds_the_fields_that_are_not_empty() -> None:
    with capture_logs() as lines:
        log()(a_job_result(reference="order-7", code=""))

    [line] = lines
    assert line["event"] == "result.received"
    assert line["log_level"] == "info"
    assert line["reference"] == "order-7"
    assert not {"raw", "data", "code", "run_id"} & line.keys()


@each_case("level", ["debug", "info", "warning", "error"])
def test_level_is_the_one_asked_for(level: str) -> None:
    with capture_logs() as lines:
        log(level=level)(a_job_result())

    assert [line["log_level"] for line in lines] == [level]
