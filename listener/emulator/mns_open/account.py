"""The calls for the attributes of the account: logging and traces; stored, nothing is logged."""

from __future__ import annotations

from collections.abc import Mapping

from listener.emulator.mns_open import parameters
from listener.emulator.rpc.call import Call, Document, Operation


class AccountCalls:
    """The attributes of the account."""

    def __init__(self) -> None:
        self.operations: Mapping[str, Operation] = {
            "SetAccountAttributes": self._set,
            "GetAccountAttributes": self._get,
        }
        self.reset()

    def reset(self) -> None:
        self.attributes: Document = {
            "LogEnabled": False,
            "LogStoreName": "",
            "MessageTraceEnabled": False,
            "ProjectName": "",
        }

    def _set(self, call: Call) -> Document:
        """Change what the call names, and leave the rest."""
        known = self.attributes
        self.attributes = {
            name: parameters.truth(call, name, default=value)
            if isinstance(value, bool)
            else call.parameters.get(name, value)
            for name, value in known.items()
        }
        return {}

    def _get(self, call: Call) -> Document:
        return {"Data": dict(self.attributes)}
