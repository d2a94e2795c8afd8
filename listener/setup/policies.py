"""The RAM policies with the least rights. docs/first-account.md, docs/mns.md and docs/security.md show the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from listener.core.job_kinds import JOB_KINDS, SUBMITTED_KINDS
from listener.setup.location import Location

#: MPS does not support permissions for single resources.
_ALL: Final = "*"
#: A longer list of texts has a line for each.
_LINE: Final = 100
#: A list of texts over several lines.
_TEXTS: Final = re.compile(r'\[\s+("[^\[\]{}]*")\s+\]')


def daemon_policy(location: Location) -> Mapping[str, Any]:
    """What ``mns-listener run`` needs, and ``GetQueueAttributes`` and ``QueryPipelineList`` for ``check``."""
    queries = [f"mts:{kind.queried_by}" for kind in JOB_KINDS]
    return _policy(
        _allow(["mns:ReceiveMessage", "mns:DeleteMessage"], _messages(location)),
        _allow(["mns:GetQueueAttributes"], _queue(location)),
        _allow([*queries, "mts:QueryPipelineList"], _ALL),
    )


def submitter_policy() -> Mapping[str, Any]:
    """What ``mns-listener submit`` and ``listener.submit`` need."""
    return _policy(_allow([f"mts:{kind.submitted_by}" for kind in SUBMITTED_KINDS], _ALL))


def setup_policy(location: Location) -> Mapping[str, Any]:
    """What ``mns-listener setup`` needs, once."""
    return _policy(
        _allow(["mns:CreateQueue", "mns:GetQueueAttributes", "mns:SetQueueAttributes"], _queue(location)),
        _allow(["mns:SendMessage", "mns:ReceiveMessage", "mns:DeleteMessage"], _messages(location)),
        _allow(
            ["mts:QueryPipelineList", "mts:SearchPipeline", "mts:AddPipeline", "mts:UpdatePipeline"], _ALL
        ),
    )


def no_sender_policy(location: Location) -> Mapping[str, Any]:
    """Prevents a principal from sending to the queue, whatever else it may do."""
    return _policy(_statement("Deny", ["mns:SendMessage", "mns:BatchSendMessage"], _messages(location)))


def policy_text(policy: Mapping[str, Any]) -> str:
    """JSON as people write it: with short lists of texts in one line."""
    return _TEXTS.sub(_in_one_line, json.dumps(policy, indent=2))


def _in_one_line(found: re.Match[str]) -> str:
    line = f"[{' '.join(found[1].split())}]"
    return line if len(line) <= _LINE else found[0]


def _policy(*statements: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"Version": "1", "Statement": list(statements)}


def _allow(actions: Sequence[str], resource: str) -> Mapping[str, Any]:
    return _statement("Allow", actions, resource)


def _statement(effect: str, actions: Sequence[str], resource: str) -> Mapping[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": resource}


def _queue(location: Location) -> str:
    return f"acs:mns:{location.region}:{location.account}:/queues/{location.queue}"


def _messages(location: Location) -> str:
    return f"{_queue(location)}/messages"
