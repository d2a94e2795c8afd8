"""What error codes ask of us, and that the page says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from listener.aliyun.mps_error_codes import TABLE, Action, action_of
from listener.core.errors import Fault
from listener.emulator.mps.service import ERRORS

PAGE = (Path(__file__).parents[2] / "docs" / "mps.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("code", "action", "fault"),
    [
        ("Throttling", Action.RETRY, Fault.THROTTLED),
        ("Throttling.User", Action.RETRY, Fault.THROTTLED),
        ("InternalError", Action.RETRY, Fault.SERVER),
        ("ServiceUnavailable", Action.RETRY, Fault.SERVER),
        ("SignatureNonceUsed", Action.RETRY, Fault.CONNECTION),
        ("InvalidAccessKeyId.NotFound", Action.OPERATOR, Fault.CREDENTIALS),
        ("SignatureDoesNotMatch", Action.OPERATOR, Fault.CREDENTIALS),
        ("InvalidSecurityToken.Expired", Action.OPERATOR, Fault.CREDENTIALS),
        ("InvalidTimestamp.Expired", Action.OPERATOR, Fault.CLOCK),
        ("Forbidden.RAM", Action.OPERATOR, Fault.DENIED),
        ("PermissionDenied.ResourceAccess", Action.OPERATOR, Fault.DENIED),
        ("InvalidIdentity.ServiceDisabled", Action.OPERATOR, Fault.DENIED),
        ("InvalidParameter", Action.GIVE_UP, None),
        ("InvalidParameter.NeverHeardOf.AtAll", Action.GIVE_UP, None),
        ("ThrottlingIsNotThis", Action.GIVE_UP, None),
        ("", Action.GIVE_UP, None),
    ],
)
def test_codes_are_sorted_by_family(code: str, action: Action, fault: Fault | None) -> None:
    verdict = action_of(code, 400)

    assert (verdict.action, verdict.fault) == (action, fault)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (500, Fault.SERVER),
        (502, Fault.SERVER),
        (429, Fault.THROTTLED),
        (403, Fault.DENIED),
        (404, None),
        (0, None),
    ],
)
def test_a_code_that_nobody_documents_goes_by_its_status(status: int, fault: Fault | None) -> None:
    assert action_of("Unheard.Of", status).fault == fault


def test_a_documented_code_counts_more_than_its_status() -> None:
    assert action_of("InvalidParameter.InvalidState", 403).action == Action.GIVE_UP
    assert action_of("InvalidAccessKeyId.NotFound", 404).fault == Fault.CREDENTIALS


def test_the_longest_match_has_the_say() -> None:
    assert action_of("InvalidParameter.NoAudioStream.Left") == TABLE["InvalidParameter.NoAudioStream"]


def test_exactly_what_is_given_up_has_no_fault() -> None:
    assert {code for code, verdict in TABLE.items() if verdict.fault is None} == {
        code for code, verdict in TABLE.items() if verdict.action == Action.GIVE_UP
    }


def test_whoever_has_to_act_is_told_how() -> None:
    assert [
        code for code, verdict in TABLE.items() if verdict.action != Action.RETRY and not verdict.advice
    ] == []


@pytest.mark.parametrize("code", ERRORS)
def test_no_error_of_the_emulator_is_retried_by_its_status_alone(code: str) -> None:
    status, _ = ERRORS[code]

    assert action_of(code, status).action == action_of(code).action


def test_the_page_shows_the_table_as_it_is() -> None:
    section = PAGE.split("\n## Error codes\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)

    assert rows == [
        (code, verdict.action, verdict.advice or "nothing: it passes") for code, verdict in TABLE.items()
    ]
