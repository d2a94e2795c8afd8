"""The errors of MPS: codes, statuses and texts."""

from __future__ import annotations

from listener.emulator.rpc.errors import COMMON_ERRORS, RpcError

QUEUE_FULL = "PermissionDenied.ResourceQuotaExceed"

#: Status and text of each error code.
ERRORS = {
    **COMMON_ERRORS,
    "InvalidParameter": (400, "The parameter {0} is not valid."),
    "InvalidParameter.NullValue": (400, "The parameter {0} must not be null."),
    "InvalidParameter.Format": (400, "The format of the parameter {0} is invalid."),
    "InvalidParameter.BucketNameInvalid": (400, "The bucket name in {0} is invalid."),
    "InvalidParameter.ObjectKeyInvalid": (400, "The object key in {0} is invalid."),
    "InvalidParameter.UUIDFormatInvalid": (400, "The parameter {0} is not a 32-character uuid of [a-f0-9]."),
    "InvalidParameter.ResourceNotFound": (404, "The resource operated {0} cannot be found."),
    "InvalidParameter.InvalidState": (403, "The state of the resource operated {0} is not valid."),
    QUEUE_FULL: (403, "The quota of the resource {0} is used up."),
}


class MpsError(RpcError):
    """An error of MPS, by its code."""

    errors = ERRORS
