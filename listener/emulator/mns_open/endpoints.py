"""The calls for the public endpoint of the account and for who may reach it; stored, not enforced."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from listener.emulator.mns.errors import MnsError
from listener.emulator.mns_open import parameters
from listener.emulator.rpc.call import Call, Document, Operation
from listener.emulator.virtual_clock import VirtualClock

EVERYWHERE = "0.0.0.0/0"


class EndpointCalls:
    """The one endpoint that can be switched, and the address blocks that it admits."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "EnableEndpoint": self._enable,
            "DisableEndpoint": self._disable,
            "GetEndpointAttribute": self._get,
            "AuthorizeEndpointAcl": self._authorize,
            "RevokeEndpointAcl": self._revoke,
        }
        self.reset()

    def reset(self) -> None:
        self.enabled = True
        self.admitted = {EVERYWHERE: self._clock.ms()}  #: since when, by block

    def _enable(self, call: Call) -> Document:
        _check_type(call)
        self.enabled = True
        return {}

    def _disable(self, call: Call) -> Document:
        _check_type(call)
        self.enabled = False
        return {}

    def _get(self, call: Call) -> Document:
        _check_type(call)
        blocks = [
            {"AclStrategy": "allow", "Cidr": block, "CreateTime": since}
            for block, since in self.admitted.items()
        ]
        return {"Data": {"EndpointEnabled": self.enabled, "CidrList": blocks}}

    def _authorize(self, call: Call) -> Document:
        for block in _blocks(call):
            self.admitted.setdefault(block, self._clock.ms())
        return {}

    def _revoke(self, call: Call) -> Document:
        for block in _blocks(call):
            self.admitted.pop(block, None)
        return {}


def _check_type(call: Call) -> None:
    call.required("EndpointType")
    parameters.word(call, "EndpointType", ("public",), default="")


def _blocks(call: Call) -> list[str]:
    _check_type(call)
    call.required("AclStrategy")
    parameters.word(call, "AclStrategy", ("allow",), default="")
    blocks = call.required("CidrList").split(",")
    for block in blocks:
        try:
            ipaddress.ip_network(block)
        except ValueError as error:
            raise MnsError("InvalidArgument", f"{block} is not a CIDR block.") from error
    return blocks
