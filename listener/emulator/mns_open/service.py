"""The OpenAPI of MNS: one RPC API over the queues and topics that the other protocol serves, too."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from listener.emulator.messages import Reply, Request
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.service import Mns
from listener.emulator.mns_open.account import AccountCalls
from listener.emulator.mns_open.endpoints import EndpointCalls
from listener.emulator.mns_open.errors import MnsOpenError
from listener.emulator.mns_open.event_rules import EventRuleCalls
from listener.emulator.mns_open.queues import QueueCalls
from listener.emulator.mns_open.replies import CARRIED_OUT
from listener.emulator.mns_open.subscriptions import SubscriptionCalls
from listener.emulator.mns_open.topics import TopicCalls
from listener.emulator.options import Options
from listener.emulator.rpc.api import RpcApi
from listener.emulator.rpc.call import Call, Document, Operation
from listener.emulator.virtual_clock import VirtualClock

VERSION = "2022-01-19"


class MnsOpen:
    """The OpenAPI of one account."""

    def __init__(self, options: Options, *, rng: Random, mns: Mns, clock: VirtualClock) -> None:
        self.endpoints = EndpointCalls(clock)
        self.account = AccountCalls()
        self.event_rules = EventRuleCalls()
        self.operations: dict[str, Operation] = {
            **QueueCalls(mns).operations,
            **TopicCalls(mns.topics).operations,
            **SubscriptionCalls(mns).operations,
            **self.endpoints.operations,
            **self.account.operations,
            **self.event_rules.operations,
        }
        wrapped = {name: _wrapped(operation) for name, operation in self.operations.items()}
        self._api = RpcApi(options, rng=rng, version=VERSION, operations=wrapped)

    def reset(self) -> None:
        """Forget what only this API knows; queues and topics are those of the other protocol."""
        self._api.reset()
        self.endpoints.reset()
        self.account.reset()
        self.event_rules.reset()

    def answer(self, call: Call, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one call. Never raises RpcError; errors are replies."""
        return self._api.answer(call, request, skew=skew)

    def refuse(self, code: str, *, call: Call, host: str) -> Reply:
        return self._api.error(MnsOpenError(code), call=call, host=host)


def _wrapped(operation: Operation) -> Operation:
    """The operation with what all replies have, and with errors of the API in place of those of MNS."""

    def carry_out(call: Call) -> Document:
        try:
            return CARRIED_OUT | operation(call)
        except MnsError as error:
            raise MnsOpenError(error.code, text=error.text) from error

    return carry_out
