"""The errors of MPS: codes, statuses and texts."""

from __future__ import annotations

QUEUE_FULL = "PermissionDenied.ResourceQuotaExceed"

#: Status and text of each error code. Texts of the gateway's own codes are inferred.
ERRORS = {
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "MissingParameter": (
        400,
        "The input parameter {0} that is mandatory for processing this request is not supplied.",
    ),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "IllegalTimestamp": (
        400,
        "The input parameter Timestamp that is mandatory for processing this request is not valid.",
    ),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    "InvalidParameter": (400, "The parameter {0} is not valid."),
    "InvalidParameter.JsonArrayFormatInvalid": (400, "The parameter {0} is not a valid JSON array."),
    "InvalidParameter.JsonObjectFormatInvalid": (400, "The parameter {0} is not a valid JSON object."),
    "InvalidParameter.NullValue": (400, "The parameter {0} must not be null."),
    "InvalidParameter.Format": (400, "The format of the parameter {0} is invalid."),
    "InvalidParameter.BucketNameInvalid": (400, "The bucket name in {0} is invalid."),
    "InvalidParameter.ObjectKeyInvalid": (400, "The object key in {0} is invalid."),
    "InvalidParameter.NumberFormatInvalid": (400, "The parameter {0} is not a number."),
    "InvalidParameter.OutOfRange": (400, "The value of the parameter {0} is out of range."),
    "InvalidParameter.NotSupported": (400, "The value of the parameter {0} is not supported."),
    "InvalidParameter.UUIDFormatInvalid": (400, "The parameter {0} is not a 32-character uuid of [a-f0-9]."),
    "InvalidParameter.ResourceNotFound": (404, "The resource operated {0} cannot be found."),
    "InvalidParameter.InvalidState": (403, "The state of the resource operated {0} is not valid."),
    QUEUE_FULL: (403, "The quota of the resource {0} is used up."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
}


class MpsError(Exception):
    """An error of the service, by its code; ``what`` names the parameter or resource."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status, text = ERRORS[code]
        self.text = text.format(what)
