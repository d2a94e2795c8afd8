"""Authenticates RPC calls: signatures V1 (HMAC-SHA1) and V3 (ACS3-HMAC-SHA256), timestamps and nonces."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from listener.core import clock
from listener.emulator import signatures
from listener.emulator.messages import Request
from listener.emulator.options import Options
from listener.emulator.rpc.call import Call
from listener.emulator.rpc.errors import RpcError

CLOCK_TOLERANCE = timedelta(minutes=15)
ACS3 = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]+)")

#: The text of this error depends on the kind of signature: SDKs look for what the service has signed.
ACS3_MISMATCH = (
    "Specified signature does not match our calculation. "
    "server StringToSign is [{}] server CanonicalRequest is [{}]"
)


class Authentication:
    """Raises RpcError for a call that is not signed with the one key that is accepted."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._nonces: dict[str, datetime] = {}

    def reset(self) -> None:
        self._nonces.clear()

    def check(self, call: Call, request: Request, at: datetime) -> None:
        if request.headers.get("authorization", "").startswith("ACS3-"):
            self._check_acs3(request, at)
        else:
            self._check_v1(call, request.method, at)

    def _check_v1(self, call: Call, method: str, at: datetime) -> None:
        self._check_key(call.required("AccessKeyId"))
        given = call.required("Signature")
        if call.required("SignatureMethod") != "HMAC-SHA1" or call.required("SignatureVersion") != "1.0":
            raise RpcError("IncompleteSignature")
        _check_time(call.required("Timestamp"), at)
        unsigned = {name: value for name, value in call.parameters.items() if name != "Signature"}
        expected = signatures.rpc_v1(self._options.access_key_secret, method=method, parameters=unsigned)
        if given != expected:
            text = signatures.rpc_v1_text(method=method, parameters=unsigned)
            raise RpcError("SignatureDoesNotMatch", text)
        self._check_nonce(call.required("SignatureNonce"))

    def _check_acs3(self, request: Request, at: datetime) -> None:
        parts = ACS3.fullmatch(request.headers["authorization"])
        if parts is None:
            raise RpcError("IncompleteSignature")
        key, signed, given = parts.groups()
        self._check_key(key)
        _check_time(request.headers.get("x-acs-date", ""), at)
        canonical = signatures.acs3_request(
            method=request.method,
            path=request.path,
            query=dict(parse_qsl(request.raw_query, keep_blank_values=True)),
            headers=request.headers,
            signed=signed,
        )
        expected = signatures.acs3(self._options.access_key_secret, canonical)
        digest = hashlib.sha256(request.body).hexdigest()
        if given != expected or request.headers.get("x-acs-content-sha256") != digest:
            text = ACS3_MISMATCH.format(signatures.acs3_text(canonical), canonical)
            raise RpcError("SignatureDoesNotMatch", text=text)
        self._check_nonce(request.headers.get("x-acs-signature-nonce", ""))

    def _check_key(self, key: str) -> None:
        if key != self._options.access_key_id:
            raise RpcError("InvalidAccessKeyId.NotFound")

    def _check_nonce(self, nonce: str) -> None:
        if not nonce:
            raise RpcError("MissingParameter", "SignatureNonce")
        at = clock.now()
        if nonce in self._nonces:
            raise RpcError("SignatureNonceUsed")
        self._nonces[nonce] = at
        # An older replay is already rejected by its timestamp. Insertion order is chronological.
        while (oldest := next(iter(self._nonces))) and at - self._nonces[oldest] > 2 * CLOCK_TOLERANCE:
            del self._nonces[oldest]


def _check_time(text: str, at: datetime) -> None:
    try:
        when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise RpcError("IllegalTimestamp") from error
    if abs(at - when) > CLOCK_TOLERANCE:
        raise RpcError("InvalidTimeStamp.Expired")
