"""A test message on its way: sent to the queue, received with the daemon's own adapter, decoded, and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from listener.core.account import QueueAdmin
from listener.core.errors import Undecodable
from listener.core.model import SUCCESS, Message, Result
from listener.formats.callback import decode
from listener.formats.setup_message import is_setup_message, job_id, setup_message
from listener.rules.routing import Rule, first_match, match_context

LIMIT: Final = 16
WAIT: Final = timedelta(seconds=5)
#: Receives until the message counts as taken by another consumer.
MAX_RECEIVES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    result: Result | None  #: the test message as it was decoded; None if it was not received
    others: int  #: messages of others that were received meanwhile, and not deleted


def round_trip(queue: QueueAdmin, token: str) -> RoundTrip:
    """Send a test message and wait for it. Test messages, also of earlier runs, are deleted; no other message is."""
    queue.send(setup_message(token))
    others: set[str] = set()
    for _ in range(MAX_RECEIVES):
        messages = queue.receive(limit=LIMIT, wait=WAIT)
        decoded = [(message, _decoded(message)) for message in messages]
        tests = [(message, result) for message, result in decoded if result and is_setup_message(result)]
        _delete(queue, [message for message, _ in tests])
        others |= {message.message_id for message in messages} - {message.message_id for message, _ in tests}
        for _, result in tests:
            if result.job_id == job_id(token):
                return RoundTrip(result=result, others=len(others))
    return RoundTrip(result=None, others=len(others))


def route_of_a_success(rules: Sequence[Rule], queue: str) -> Rule | None:
    """The route that a callback of a successful job without user data would take; None: it would be parked."""
    result = Result(job_id="0" * 32, type="IProduction", state=SUCCESS)
    return first_match(rules, match_context(result, None, queue))


def _decoded(message: Message) -> Result | None:
    try:
        return decode(message.body)
    except Undecodable:
        return None


def _delete(queue: QueueAdmin, messages: Sequence[Message]) -> None:
    """What cannot be deleted is redelivered, and dropped by whoever receives it."""
    if messages:
        queue.delete(messages)
