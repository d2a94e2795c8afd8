"""The errors of an RPC API: codes, statuses and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from listener.emulator.limits import MAX_CALL, MAX_FIELDS

#: Status and text of each code that the gateway and the checks of parameters have for every API. The texts of the
#: gateway's own codes are inferred.
COMMON_ERRORS = {
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "RequestBodyTooLarge": (413, f"The request body has more than {MAX_CALL} bytes or {MAX_FIELDS} fields."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "MissingParameter": (
        400,
        "The input parameter {0} that is mandatory for processing this request is not supplied.",
    ),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    # With what the service has signed, which SDKs compare with what they have signed themselves.
    "SignatureDoesNotMatch": (
        400,
        "Specified signature is not matched with our calculation. server string to sign is:{0}",
    ),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "IllegalTimestamp": (
        400,
        "The input parameter Timestamp that is mandatory for processing this request is not valid.",
    ),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    "InvalidParameter.JsonArrayFormatInvalid": (400, "The parameter {0} is not a valid JSON array."),
    "InvalidParameter.JsonObjectFormatInvalid": (400, "The parameter {0} is not a valid JSON object."),
    "InvalidParameter.NumberFormatInvalid": (400, "The parameter {0} is not a number."),
    "InvalidParameter.OutOfRange": (400, "The value of the parameter {0} is out of range."),
    "InvalidParameter.NotSupported": (400, "The value of the parameter {0} is not supported."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
}


class RpcError(Exception):
    """An error of an API, by its code; ``what`` names the parameter or resource, ``text`` replaces the usual text."""

    errors: ClassVar[Mapping[str, tuple[int, str]]] = COMMON_ERRORS

    def __init__(self, code: str, what: str = "", *, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status, usual = self.errors[code]
        self.text = text or usual.format(what)
