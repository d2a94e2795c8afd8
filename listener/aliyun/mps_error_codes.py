"""How to react to the error codes of MPS and its gateway: one table, which docs/mps.md shows.

Sources: the vendor's table of general error codes and the client-error pages of the gateway. Neither lists codes per
call, so the table is by family: a row applies to its code and all codes below it; the longest match wins. The
actions are our own inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from listener.core.errors import FailureKind


class Action(StrEnum):
    """What an error requires."""

    RETRY = "retry"  #: transient: retried automatically
    PERMANENT = "permanent"  #: permanent, not retried: the submitter must change the request
    OPERATOR = "operator"  #: retried, but no request succeeds until an operator fixes it


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """How to react to one error reply."""

    action: Action
    kind: FailureKind | None = None  #: None if and only if the error is permanent
    hint: str = ""  #: what to do next; empty if there is nothing to do


def _retry(kind: FailureKind, hint: str = "") -> ErrorRule:
    return ErrorRule(action=Action.RETRY, kind=kind, hint=hint)


def _permanent(hint: str = "") -> ErrorRule:
    return ErrorRule(action=Action.PERMANENT, hint=hint)


def _operator(kind: FailureKind, hint: str) -> ErrorRule:
    return ErrorRule(action=Action.OPERATOR, kind=kind, hint=hint)


_KEY: Final = _operator(
    FailureKind.CREDENTIALS, "verify that access key id and secret belong together and are active"
)
_CLOCK: Final = _operator(FailureKind.CLOCK, "correct the clock of this machine")
_RAM: Final = _operator(
    FailureKind.DENIED, "grant the RAM user the action of this call, such as mts:QueryIProductionJob, on *"
)
_SERVER: Final = _retry(FailureKind.SERVER)
_JSON: Final = _permanent("verify that JobParams is a JSON object with members that the function supports")

TABLE: Final[Mapping[str, ErrorRule]] = {
    "Throttling": _retry(FailureKind.THROTTLED),
    "InternalError": _SERVER,
    "ServiceUnavailable": _SERVER,
    # The nonce is unique per request, so this request arrived twice; the first copy may have been executed.
    "SignatureNonceUsed": _retry(FailureKind.CONNECTION, "verify that no proxy in between repeats requests"),
    "InvalidAccessKeyId": _KEY,
    "IncompleteSignature": _KEY,
    "SignatureDoesNotMatch": _KEY,
    "InvalidSecurityToken": _operator(FailureKind.CREDENTIALS, "renew the temporary credentials"),
    "IllegalTimestamp": _CLOCK,
    "InvalidTimeStamp": _CLOCK,
    "InvalidIdentity.ServiceDisabled": _operator(
        FailureKind.DENIED, "verify that MPS is activated for this account and has no overdue payment"
    ),
    "Forbidden": _RAM,
    "PermissionDenied": _RAM,
    "PermissionDenied.ResourceAccess": _operator(
        FailureKind.DENIED,
        "grant the MPS role AliyunMTSDefaultRole access to the buckets, the queue and the pipeline",
    ),
    "PermissionDenied.ResourceQuotaExceed": _operator(
        FailureKind.DENIED, "wait until queued jobs have finished, or request a higher quota"
    ),
    "MissingParameter": _permanent("add the missing parameter"),
    "InvalidParameter": _permanent("fix the parameter that the message names"),
    "InvalidParameter.NullValue": _permanent("add the missing parameter"),
    "InvalidParameter.EmptyValue": _permanent("set the parameter that is empty"),
    "InvalidParameter.InvalidState": _permanent(
        "verify that the pipeline is active and the resource is ready"
    ),
    "InvalidParameter.NotSupported": _permanent("use a value that the function supports"),
    "InvalidParameter.OutOfRange": _permanent("use a value within the range"),
    "InvalidParameter.ResourceNotFound": _permanent(
        "verify that input, pipeline and job exist in this region"
    ),
    "InvalidParameter.ResourceContentBad": _permanent(
        "verify that the input file is complete and not corrupt"
    ),
    "InvalidParameter.ResourceNotSupported": _permanent("convert the input to a format that MPS supports"),
    "InvalidParameter.NoAudioStream": _permanent("use an input with an audio stream"),
    "InvalidParameter.ResourceDeleted": _permanent("use an input and a pipeline that still exist"),
    "InvalidParameter.JsonFormatInvalid": _JSON,
    "InvalidParameter.JsonObjectFormatInvalid": _JSON,
    "InvalidParameter.JsonArrayFormatInvalid": _JSON,
    "InvalidParameter.UUIDFormatInvalid": _permanent("use an id of 32 characters from 0-9 and a-f"),
    "InvalidParameter.Format": _permanent("fix the format of the parameter that the message names"),
    "InvalidParameter.NumberFormatInvalid": _permanent("write the number as plain digits"),
    "InvalidParameter.BucketNameInvalid": _permanent("fix the bucket name in the OSS URL"),
    "InvalidParameter.LocationInvalid": _permanent("use a bucket in the region of the MPS endpoint"),
    "InvalidParameter.ObjectKeyInvalid": _permanent("fix the object key in the OSS URL"),
}
_FOLDED: Final = {code.casefold(): rule for code, rule in TABLE.items()}


def action_of(code: str, status: int = 0) -> ErrorRule:
    """How to react to an error reply: by its code, else by its HTTP status; anything else is permanent.

    Case is ignored, since the documentation does not spell codes consistently.
    """
    family = code.strip().casefold()
    while family:
        if family in _FOLDED:
            return _FOLDED[family]
        family = family.rpartition(".")[0]
    return _by_status(status)


def lacks_permission(code: str) -> bool:
    """Whether an error with this code, or one that is not listed and has status 403, asks for a grant in RAM."""
    return bool(code) and action_of(code, 403) is _RAM


def _by_status(status: int) -> ErrorRule:
    """The rule for an undocumented code, from the HTTP status."""
    if status >= 500:
        return _SERVER
    if status == 429:
        return TABLE["Throttling"]
    return _RAM if status in (401, 403) else _permanent()
