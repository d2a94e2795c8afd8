"""The errors of the OpenAPI: those of MNS, of every RPC API, and of what MNS itself does not have."""

from __future__ import annotations

from listener.emulator.mns import errors as mns
from listener.emulator.rpc.errors import COMMON_ERRORS, RpcError

#: Status and text of each code. Those of event rules are inferred.
ERRORS = {
    **mns.ERRORS,
    "EventRuleNotExist": (404, "The event rule {0} does not exist."),
    "EventRuleAlreadyExist": (409, "The event rule {0} already exists."),
    **COMMON_ERRORS,
}


class MnsOpenError(RpcError):
    """An error of the OpenAPI, by its code."""

    errors = ERRORS

    def __init__(self, code: str, what: str = "", *, text: str = "") -> None:
        super().__init__(code, what)
        self.text = text or self.text
