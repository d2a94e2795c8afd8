"""The documents of the API have the fields of the JSON that the CLI prints."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from listener.api.deliveries import DeliveryDocument, WholeDelivery
from listener.api.jobs import AttemptDocument, JobDocument
from listener.api.parameters import FilterFields
from listener.api.quarantine import QuarantinedDocument
from listener.api.results import ResultDocument
from listener.api.serialize import (
    attempt_dict,
    delivery_dict,
    job_dict,
    quarantined_dict,
    result_dict,
    whole_delivery_dict,
)
from listener.core.model import Attempt, Quarantined, ResultStatus
from listener.store.filters import Filters
from listener.store.queries import StoredResult
from tests.support.api import Api
from tests.support.builders import NOON, a_delivery, a_job, a_message, a_result
from tests.support.cases import each_case

RESULT = StoredResult(
    id=1,
    result=a_result(),
    queue="q",
    status=ResultStatus.ROUTED,
    received_at=NOON,
    copies=1,
    contradictions=0,
)
QUARANTINED = Quarantined(id=1, queue="q", message=a_message(), reason="garbled", received_at=NOON)


ATTEMPT = Attempt(
    delivery_id=1,
    attempt=1,
    outcome="retry",
    error="no",
    owner="one",
    started_at=None,
    seconds=None,
    settled_at=NOON,
)


@each_case(
    ("model", "printed"),
    [
        (JobDocument, job_dict(a_job())),
        (ResultDocument, result_dict(RESULT)),
        (DeliveryDocument, delivery_dict(a_delivery())),
        (AttemptDocument, attempt_dict(ATTEMPT)),
        (WholeDelivery, whole_delivery_dict(a_delivery())),
        (QuarantinedDocument, quarantined_dict(QUARANTINED)),
    ],
)
def test_a_document_has_the_fields_that_the_cli_prints_except_tokens(
    model: type[BaseModel], printed: dict[str, Any]
) -> None:
    assert set(model.model_fields) == set(printed) - {"token"}


def test_every_filter_of_a_list_is_a_parameter(api: Api) -> None:
    document = api.get("/v1/openapi.json").json()
    names = {each["name"] for each in document["paths"]["/v1/jobs"]["get"]["parameters"]}

    assert names >= {each.name for each in fields(Filters)}
    assert set(FilterFields.model_fields) == {each.name for each in fields(Filters)}
