"""Every error of ours, sorted by what is done about it.

::

    ListenerError
    ├── SettingsError          stop; exit 78; names the setting, its value and the way out
    ├── UsageError             stop; exit 2; the request itself is wrong, no call was made
    ├── UnavailableError       retry with back-off; at a prompt exit 69
    │   ├── QueueUnavailable       MNS: network, time-out, throttling, 5xx, refused credentials, no such queue
    │   ├── MpsUnavailable         the MPS API: the same
    │   └── StoreUnavailable       the database; nothing is deleted from the queue meanwhile
    ├── MpsRejected            give up this request: MPS understood it and said no
    ├── Undecodable            quarantine the message, whole, with this reason
    └── HandlerDecision        what a handler raises to decide about its own delivery
        ├── Retry                  again later
        │   └── Unavailable            again later, and it does not count as an attempt
        └── Reject                 never again: dead letter at once

Any other exception that a handler raises is a failed attempt.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class ListenerError(Exception):
    """Root of all errors of this package. ``str(error)`` is fit for a person to read."""

    exit_code: ClassVar[int] = 1


class SettingsError(ListenerError):
    """The settings can't work. Restarting will not help, hence exit code 78 (EX_CONFIG)."""

    exit_code = 78


class UsageError(ListenerError):
    """What was asked for can't be right; nothing was sent."""

    exit_code = 2


class FailureKind(StrEnum):
    """Why something could not be reached: the class that decides on words and back-off."""

    TIMEOUT = "timeout"
    REFUSED = "refused"  #: nobody listens there: certainly nothing was carried out
    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    THROTTLED = "throttled"
    SERVER = "server"
    PROTOCOL = "protocol"  #: an answer that is not the service's, such as a proxy's HTML page
    CREDENTIALS = "credentials"
    CLOCK = "clock"
    MISSING = "missing"  #: the queue or pipeline does not exist
    DENIED = "denied"


class UnavailableError(ListenerError):
    """The other side can't be used now; it may be later."""

    exit_code = 69

    def __init__(self, message: str, *, kind: FailureKind, code: str = "", hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.kind = kind
        self.code = code  #: the vendor's error code, where there was one
        self.hint = hint


class QueueUnavailable(UnavailableError):
    """The MNS queue can't be used now."""


class MpsUnavailable(UnavailableError):
    """The MPS API can't be used now. The request may or may not have been carried out."""


class StoreUnavailable(UnavailableError):
    """The store can't be used now."""


class MpsRejected(ListenerError):
    """MPS refused the request for good.

    ``code`` is the vendor's error code, for example ``InvalidParameter.JsonFormatInvalid``.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Undecodable(ListenerError):
    """A message body is no callback. ``reason`` goes into quarantine with it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HandlerDecision(ListenerError):
    """What a handler may raise to say what becomes of its delivery."""


class Retry(HandlerDecision):
    """Run this delivery again later; counts as an attempt.

    ``after`` is the wait until then, in seconds or as a timedelta; without it the route's back-off decides.
    """

    counts: ClassVar[bool] = True

    def __init__(self, reason: str = "", *, after: timedelta | float | None = None) -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.after = after if isinstance(after, timedelta) or after is None else timedelta(seconds=after)


class Unavailable(Retry):
    """What the handler needs is down. Run this delivery again later, without spending an attempt."""

    counts = False


class Reject(HandlerDecision):
    """This delivery will never succeed: make it a dead letter now, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
