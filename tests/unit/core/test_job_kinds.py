"""The table of kinds, held against the models of the official SDK."""

from __future__ import annotations

import re
from typing import Any

import pytest
from alibabacloud_mts20140618 import models
from alibabacloud_mts20140618.client import Client

from listener.core.job_kinds import JOB_KINDS, JobKind, kind_of_type
from tests.support.cases import each_case

by_name = pytest.mark.parametrize("kind", JOB_KINDS, ids=lambda kind: kind.name)


@by_name
def test_the_operations_are_in_the_sdk(kind: JobKind) -> None:
    assert hasattr(models, f"{kind.submitted_by}Request")
    assert hasattr(Client, re.sub("(?<=[a-z])(?=[A-Z])", "_", kind.queried_by).lower())


@by_name
def test_the_query_takes_the_ids(kind: JobKind) -> None:
    request = getattr(models, f"{kind.queried_by}Request")().from_map({kind.ids: "7"})

    assert request.to_map() == {kind.ids: "7"}


@by_name
def test_the_members_of_a_job_are_those_of_the_reply(kind: JobKind) -> None:
    job: dict[str, Any] = {kind.state: "Success", **({kind.id: "7"} if kind.entries else {})}
    value: Any = "text"
    for name in reversed(kind.user_data):
        value = {name: value}
    job |= value
    reply = [job] if kind.entries else job
    for name in reversed(kind.entries):
        reply = {name: reply}

    assert getattr(models, f"{kind.queried_by}ResponseBody")().from_map(reply).to_map() == reply


@each_case("spelled", ["smarttag", "SmartTag", "iproduction", "Report", "start"])
def test_a_type_is_found_in_any_case(spelled: str) -> None:
    kind = kind_of_type(spelled)

    assert kind is not None
    assert spelled.casefold() in {name.casefold() for name in (kind.name, *kind.types)}


@each_case("unknown", ["", "Subtitle"])
def test_an_unknown_type_has_no_kind(unknown: str) -> None:
    assert kind_of_type(unknown) is None
