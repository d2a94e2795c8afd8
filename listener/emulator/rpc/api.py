"""One RPC API of one account: checks calls, has them carried out, and writes replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from listener.core import clock
from listener.emulator.messages import Reply, Request
from listener.emulator.options import Options
from listener.emulator.rpc.authentication import Authentication
from listener.emulator.rpc.call import Call, Operation, check_size
from listener.emulator.rpc.errors import RpcError
from listener.emulator.rpc.replies import reply


class RpcApi:
    """Operations by their names, which answer calls that are signed, of the right version and within the pace."""

    def __init__(
        self,
        options: Options,
        *,
        rng: Random,
        version: str,
        operations: Mapping[str, Operation],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._rng = rng
        self._version = version
        self._operations = operations
        self._prepare = prepare  #: is called before each operation
        self._authentication = Authentication(options)
        self._calls: dict[str, deque[datetime]] = {}

    def reset(self) -> None:
        self._authentication.reset()
        self._calls.clear()

    def answer(self, call: Call, request: Request, *, skew: timedelta = timedelta(0)) -> Reply:
        """Execute one call. Never raises RpcError; errors are replies."""
        request_id = self._request_id()
        try:
            check_size(request)
            self._authentication.check(call, request, clock.now() + skew)
            if call.version != self._version:
                raise RpcError("InvalidVersion")
            operation = self._operations.get(call.action)
            if operation is None:
                raise RpcError("InvalidAction.NotFound")
            self._check_pace(call.action)
            self._prepare()
            document = {"RequestId": request_id, **operation(replace(call, request_id=request_id))}
            return reply(200, document, root=f"{call.action}Response", as_json=call.json)
        except RpcError as error:
            return self.error(error, call=call, host=request.host, request_id=request_id)

    def error(self, error: RpcError, *, call: Call, host: str, request_id: str = "") -> Reply:
        document = {
            "RequestId": request_id or self._request_id(),
            "HostId": host,
            "Code": error.code,
            "Message": error.text,
            "Recommend": f"https://error-center.aliyun.com/status/search?Keyword={error.code}&source=PopGw",
        }
        return reply(error.status, document, root="Error", as_json=call.json)

    def _request_id(self) -> str:
        digits = f"{self._rng.getrandbits(128):032X}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _check_pace(self, action: str) -> None:
        """Enforce the rate limit of one action."""
        at = clock.now()
        recent = self._calls.setdefault(action, deque())
        while recent and at - recent[0] >= timedelta(seconds=1):
            recent.popleft()
        if self._options.calls_per_second and len(recent) >= self._options.calls_per_second:
            raise RpcError("Throttling.User")
        recent.append(at)
