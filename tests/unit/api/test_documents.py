"""The documents of the API have the fields of the JSON that the CLI prints."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from listener.api.deliveries import DeliveryDocument, WholeDelivery
from listener.api.jobs import JobDocument
from listener.api.results import ResultDocument
from listener.api.serialize import delivery_dict, job_dict, result_dict, whole_delivery_dict
from listener.core.model import ResultStatus
from listener.store.queries import StoredResult
from tests.support.builders import NOON, a_delivery, a_job, a_result

RESULT = StoredResult(
    id=1,
    result=a_result(),
    queue="q",
    status=ResultStatus.ROUTED,
    received_at=NOON,
    copies=1,
    contradictions=0,
)


@pytest.mark.parametrize(
    ("model", "printed"),
    [
        (JobDocument, job_dict(a_job())),
        (ResultDocument, result_dict(RESULT)),
        (DeliveryDocument, delivery_dict(a_delivery())),
        (WholeDelivery, whole_delivery_dict(a_delivery())),
    ],
)
def test_a_document_has_the_fields_that_the_cli_prints_except_tokens(
    model: type[BaseModel], printed: dict[str, Any]
) -> None:
    assert set(model.model_fields) == set(printed) - {"token"}
