"""What the error codes of MPS and of its gateway ask of us: one table, shown to people in docs/mps.md.

Sources: the vendor's table of general error codes and the gateway's client-error pages (facts: mps 2.4). Neither
names a code for single calls, so the table is by family: a row counts for its code and for all codes below it, the
longest match first. What we conclude from a code is our own inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from listener.core.errors import FailureKind


class Action(StrEnum):
    """Who has to do something about an error."""

    RETRY = "retry"  #: nobody: it passes by itself
    GIVE_UP = "give up"  #: the submitter: the same request will always be refused
    OPERATOR = "operator"  #: whoever runs this: no request at all works until it is mended


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """What to do about one error reply."""

    action: Action
    kind: FailureKind | None = None  #: None exactly when the request is given up
    hint: str = ""  #: what a person should do next; empty where there is nothing to do


def _retry(kind: FailureKind, hint: str = "") -> ErrorRule:
    return ErrorRule(action=Action.RETRY, kind=kind, hint=hint)


def _give_up(hint: str = "") -> ErrorRule:
    return ErrorRule(action=Action.GIVE_UP, hint=hint)


def _operator(kind: FailureKind, hint: str) -> ErrorRule:
    return ErrorRule(action=Action.OPERATOR, kind=kind, hint=hint)


_KEY: Final = _operator(
    FailureKind.CREDENTIALS, "see that access key id and secret belong together and are active"
)
_CLOCK: Final = _operator(FailureKind.CLOCK, "set this machine's clock")
_RAM: Final = _operator(
    FailureKind.DENIED, "give the RAM user mts:SubmitIProductionJob and mts:QueryIProductionJob on *"
)
_SERVER: Final = _retry(FailureKind.SERVER)
_JSON: Final = _give_up("see that JobParams is a JSON object with the members that the function knows")

TABLE: Final[Mapping[str, ErrorRule]] = {
    "Throttling": _retry(FailureKind.THROTTLED),
    "InternalError": _SERVER,
    "ServiceUnavailable": _SERVER,
    # The nonce is new for every request, so this one arrived twice; the first copy may have been carried out.
    "SignatureNonceUsed": _retry(FailureKind.CONNECTION, "see that no proxy on the way repeats requests"),
    "InvalidAccessKeyId": _KEY,
    "IncompleteSignature": _KEY,
    "SignatureDoesNotMatch": _KEY,
    "InvalidSecurityToken": _operator(FailureKind.CREDENTIALS, "renew the temporary credentials"),
    "IllegalTimestamp": _CLOCK,
    "InvalidTimeStamp": _CLOCK,
    "InvalidIdentity.ServiceDisabled": _operator(
        FailureKind.DENIED, "see that MPS is activated for this account and is paid for"
    ),
    "Forbidden": _RAM,
    "PermissionDenied": _RAM,
    "PermissionDenied.ResourceAccess": _operator(
        FailureKind.DENIED, "let MPS' role AliyunMTSDefaultRole use the buckets, the queue and the pipeline"
    ),
    "PermissionDenied.ResourceQuotaExceed": _operator(
        FailureKind.DENIED, "wait until queued jobs are done, or ask the vendor for a higher quota"
    ),
    "MissingParameter": _give_up("give the parameter that is missing"),
    "InvalidParameter": _give_up("correct the parameter that the message names"),
    "InvalidParameter.NullValue": _give_up("give the parameter that is missing"),
    "InvalidParameter.EmptyValue": _give_up("give the parameter that is empty"),
    "InvalidParameter.InvalidState": _give_up("see that the pipeline is active and the resource is ready"),
    "InvalidParameter.NotSupported": _give_up("use a value that the function supports"),
    "InvalidParameter.OutOfRange": _give_up("use a value within its range"),
    "InvalidParameter.ResourceNotFound": _give_up("see that input, pipeline and job exist in this region"),
    "InvalidParameter.ResourceContentBad": _give_up("see that the input file is whole"),
    "InvalidParameter.ResourceNotSupported": _give_up("convert the input to a format that MPS supports"),
    "InvalidParameter.NoAudioStream": _give_up("use an input that has sound"),
    "InvalidParameter.ResourceDeleted": _give_up("use an input and a pipeline that still exist"),
    "InvalidParameter.JsonFormatInvalid": _JSON,
    "InvalidParameter.JsonObjectFormatInvalid": _JSON,
    "InvalidParameter.JsonArrayFormatInvalid": _JSON,
    "InvalidParameter.UUIDFormatInvalid": _give_up("use an id of 32 characters out of 0-9 and a-f"),
    "InvalidParameter.Format": _give_up("correct the form of the parameter that the message names"),
    "InvalidParameter.NumberFormatInvalid": _give_up("write the number in plain digits"),
    "InvalidParameter.BucketNameInvalid": _give_up("correct the bucket in the OSS URL"),
    "InvalidParameter.LocationInvalid": _give_up("use a bucket in the region of the MPS endpoint"),
    "InvalidParameter.ObjectKeyInvalid": _give_up("correct the object key in the OSS URL"),
}
_FOLDED: Final = {code.casefold(): rule for code, rule in TABLE.items()}


def action_of(code: str, status: int = 0) -> ErrorRule:
    """What to do about an error reply: by its code, else by its HTTP status, else the request is given up.

    Capitals make no difference, since the documentation does not always write a code in the same way.
    """
    family = code.strip().casefold()
    while family:
        if family in _FOLDED:
            return _FOLDED[family]
        family = family.rpartition(".")[0]
    return _by_status(status)


def _by_status(status: int) -> ErrorRule:
    """What a code that nobody documents comes down to; the statuses are HTTP's own."""
    if status >= 500:
        return _SERVER
    if status == 429:
        return TABLE["Throttling"]
    return _RAM if status in (401, 403) else _give_up()
