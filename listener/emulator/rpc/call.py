"""One RPC call, independent of its encoding, and checks of its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from listener.emulator.limits import MAX_CALL, MAX_FIELDS
from listener.emulator.messages import Request
from listener.emulator.rpc.errors import RpcError

Document = dict[str, Any]
T = TypeVar("T", dict[str, Any], list[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API call, independent of its encoding."""

    action: str
    version: str
    parameters: Mapping[str, str]
    json: bool
    host: str = ""  #: of the request
    request_id: str = ""  #: of the reply

    def required(self, name: str) -> str:
        value = self.parameters.get(name, "")
        if not value:
            raise RpcError("MissingParameter", name)
        return value

    def whole_number(self, name: str, *, default: int, high: int) -> int:
        text = self.parameters.get(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise RpcError("InvalidParameter.NumberFormatInvalid", name)
        if not 1 <= int(text) <= high:
            raise RpcError("InvalidParameter.OutOfRange", name)
        return int(text)

    def json_object(self, name: str) -> Document:
        """The parameter as a JSON object; an empty one if it is omitted."""
        return self._json(name, dict, "InvalidParameter.JsonObjectFormatInvalid")

    def json_array(self, name: str) -> list[Any]:
        """The parameter as a JSON array; an empty one if it is omitted."""
        return self._json(name, list, "InvalidParameter.JsonArrayFormatInvalid")

    def _json(self, name: str, shape: type[T], code: str) -> T:
        if not self.parameters.get(name):
            return shape()
        try:
            value = json.loads(self.parameters[name])
        except (ValueError, RecursionError) as error:
            raise RpcError(code, name) from error
        if not isinstance(value, shape):
            raise RpcError(code, name)
        return value


Operation = Callable[[Call], Document]


def check_size(request: Request) -> None:
    """Raises RpcError for a body that is not worth reading."""
    if request.body_size > MAX_CALL or (_is_form(request) and request.body.count(b"&") >= MAX_FIELDS):
        raise RpcError("RequestBodyTooLarge")


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def read_call(request: Request) -> Call:
    """Parse the call: RPC v1 uses parameters, ACS3 headers. The default format is XML."""
    parameters = dict(parse_qsl(request.raw_query, keep_blank_values=True))
    if _is_form(request):
        # Of a body that is refused for its size, the first fields may say in which format.
        form = request.body[:MAX_CALL].decode("utf-8", "replace").split("&", MAX_FIELDS)[:MAX_FIELDS]
        parameters |= parse_qsl("&".join(form), keep_blank_values=True)
    headers = request.headers
    acs3 = "x-acs-action" in headers
    wanted = parameters.get("Format") or ("JSON" if acs3 and "json" in headers.get("accept", "") else "XML")
    return Call(
        action=headers.get("x-acs-action", "") or parameters.get("Action", ""),
        version=headers.get("x-acs-version", "") or parameters.get("Version", ""),
        parameters=parameters,
        json=wanted.upper() == "JSON",
        host=request.host,
    )
