"""The RAM policies, and that the pages show the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from listener.setup.location import Network, location
from listener.setup.policies import (
    daemon_policy,
    no_sender_policy,
    policy_text,
    setup_policy,
    submitter_policy,
)
from tests.support import ROOT
from tests.support.cases import each_case

WHERE = location(region="cn-shanghai", account="1234567890", queue="mps-callbacks", network=Network.PUBLIC)


def policies_in(page: str) -> list[Mapping[str, Any]]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return [json.loads(block) for block in re.findall(r"```json\n(\{\n  \"Version\".*?)```", text, re.DOTALL)]


@each_case(
    ("page", "policies"),
    [
        pytest.param("mns.md", [daemon_policy(WHERE), submitter_policy()], id="mns"),
        pytest.param("security.md", [no_sender_policy(WHERE)], id="security"),
        pytest.param("first-account.md", [setup_policy(WHERE)], id="first-account"),
    ],
)
def test_the_pages_show_the_policies(page: str, policies: list[Mapping[str, Any]]) -> None:
    assert policies_in(page) == policies


def actions(policy: Mapping[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def test_the_daemon_may_not_send_or_submit_and_submitters_may_not_receive() -> None:
    assert not actions(daemon_policy(WHERE)) & actions(submitter_policy())
    assert {"mns:SendMessage", "mts:SubmitIProductionJob"}.isdisjoint(actions(daemon_policy(WHERE)))
    assert {action.partition(":")[0] for action in actions(submitter_policy())} == {"mts"}


def test_a_policy_is_written_with_its_actions_in_one_line() -> None:
    text = policy_text(daemon_policy(WHERE))

    assert json.loads(text) == daemon_policy(WHERE)
    assert '"Action": ["mns:ReceiveMessage", "mns:DeleteMessage"],\n' in text
