"""What error codes ask of us, and that the page says the same."""

from __future__ import annotations

import re

from listener.aliyun.mps_error_codes import TABLE, Action, action_of
from listener.core.errors import FailureKind
from listener.emulator.mps.errors import ERRORS
from tests.support import ROOT
from tests.support.cases import each_case

PAGE = (ROOT / "docs" / "mps.md").read_text("utf-8")


@each_case(
    ("code", "action", "kind"),
    [
        ("Throttling", Action.RETRY, FailureKind.THROTTLED),
        ("Throttling.User", Action.RETRY, FailureKind.THROTTLED),
        ("InternalError", Action.RETRY, FailureKind.SERVER),
        ("ServiceUnavailable", Action.RETRY, FailureKind.SERVER),
        ("SignatureNonceUsed", Action.RETRY, FailureKind.CONNECTION),
        ("InvalidAccessKeyId.NotFound", Action.OPERATOR, FailureKind.CREDENTIALS),
        ("SignatureDoesNotMatch", Action.OPERATOR, FailureKind.CREDENTIALS),
        ("InvalidSecurityToken.Expired", Action.OPERATOR, FailureKind.CREDENTIALS),
        ("InvalidTimestamp.Expired", Action.OPERATOR, FailureKind.CLOCK),
        ("Forbidden.RAM", Action.OPERATOR, FailureKind.DENIED),
        ("PermissionDenied.ResourceAccess", Action.OPERATOR, FailureKind.DENIED),
        ("InvalidIdentity.ServiceDisabled", Action.OPERATOR, FailureKind.DENIED),
        ("InvalidParameter", Action.PERMANENT, None),
        ("InvalidParameter.NeverHeardOf.AtAll", Action.PERMANENT, None),
        ("ThrottlingIsNotThis", Action.PERMANENT, None),
        ("", Action.PERMANENT, None),
    ],
)
def test_codes_are_sorted_by_family(code: str, action: Action, kind: FailureKind | None) -> None:
    rule = action_of(code, 400)

    assert (rule.action, rule.kind) == (action, kind)


@each_case(
    ("status", "kind"),
    [
        (500, FailureKind.SERVER),
        (502, FailureKind.SERVER),
        (429, FailureKind.THROTTLED),
        (403, FailureKind.DENIED),
        (404, None),
        (0, None),
    ],
)
def test_an_undocumented_code_is_classified_by_its_status(status: int, kind: FailureKind | None) -> None:
    assert action_of("Unheard.Of", status).kind == kind


def test_a_documented_code_counts_more_than_its_status() -> None:
    assert action_of("InvalidParameter.InvalidState", 403).action == Action.PERMANENT
    assert action_of("InvalidAccessKeyId.NotFound", 404).kind == FailureKind.CREDENTIALS


def test_the_longest_match_has_the_say() -> None:
    assert action_of("InvalidParameter.NoAudioStream.Left") == TABLE["InvalidParameter.NoAudioStream"]


def test_exactly_the_permanent_errors_have_no_fault() -> None:
    assert {code for code, rule in TABLE.items() if rule.kind is None} == {
        code for code, rule in TABLE.items() if rule.action == Action.PERMANENT
    }


def test_operator_errors_carry_a_hint() -> None:
    assert [code for code, rule in TABLE.items() if rule.action != Action.RETRY and not rule.hint] == []


@each_case("code", ERRORS)
def test_no_error_of_the_emulator_is_retried_by_its_status_alone(code: str) -> None:
    status, _ = ERRORS[code]

    assert action_of(code, status).action == action_of(code).action


def test_the_page_shows_the_table_as_it_is() -> None:
    section = PAGE.split("\n## Error codes\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)

    assert rows == [(code, rule.action, rule.hint or "nothing: transient") for code, rule in TABLE.items()]
