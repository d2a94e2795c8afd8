"""All errors of this package, by how they are handled.

::

    ListenerError
    ├── SettingsError          stop; exit 78; names the setting, its value and the fix
    ├── UsageError             stop; exit 2; the request is invalid, no call was made
    │   ├── DoubtfulJob            the same; `force` overrides it
    │   ├── NotFound               the same, but exit 66: what the request names does not exist
    │   └── AlreadyExists          the same, but exit 73: a job has this id already, or a folder is there
    │       └── ReferenceExists        a job has this reference already
    ├── AddressInUse           stop; exit 69: another process listens at http.listen; may pass
    ├── StoreInUse             stop; exit 69: another daemon runs on this SQLite file; may pass
    ├── UnavailableError       retry with back-off; on the command line exit 69
    │   ├── QueueUnavailable       MNS: network, timeout, throttling, 5xx, refused credentials, no such queue
    │   ├── MpsUnavailable         the MPS API: the same
    │   └── StoreUnavailable       the database; nothing is deleted from the queue meanwhile
    ├── Interrupted            exit 130: SIGINT came in the middle of a command
    ├── DrainIncomplete        exit 3: a drain ended, and left deliveries for which no process has a handler
    ├── TooManyWaiting         retry later; the API answers 503: too many accepted jobs wait to be submitted
    ├── LeaseLost              the delivery is not this application's any more; nothing was changed
    ├── StopTimedOut           exit 75: a part of the daemon hung when it was stopped
    ├── MpsRejected            permanent, not retried: MPS rejected the request
    ├── StoreRejected          permanent: the database rejects these values; quarantine the message, record the others
    ├── Undecodable            quarantine the message verbatim, with this reason
    └── HandlerDecision        raised by a handler to decide about its delivery
        ├── Retry                  retry later
        │   └── Unavailable            retry later, not counted as an attempt
        ├── Reject                 no retry: dead letter immediately
        └── Offer                  raised by the handler `pull` only: applications may pull the delivery

Any other exception that a handler raises is a failed attempt, unless it comes from a lack of files, memory or threads,
which is treated like ``Unavailable`` (listener/rules/retry.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from listener.core.exit_codes import ExitCode


class ListenerError(Exception):
    """Root of all errors of this package. ``str(error)`` is a message for users."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class SettingsError(ListenerError):
    """Invalid configuration. A restart will not help, hence an exit code of its own."""

    exit_code = ExitCode.CONFIG

    def __init__(self, *messages: str, field: str = "") -> None:
        """One message for each thing that is wrong."""
        super().__init__("\n".join(messages))
        self.messages = messages
        self.field = field  #: the value of a request that these settings do not allow, if it is one


class UsageError(ListenerError):
    """The request is invalid; nothing was sent."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.field = field  #: the name of the value that is wrong, if it is a single one
        self.hint = hint


class DoubtfulJob(UsageError):
    """The job probably cannot work; with ``force`` it is submitted nevertheless."""


class JobWarning(UserWarning):
    """A job is submitted with a value that may not be what was meant. Not an error: see the module ``warnings``."""


class NotFound(UsageError):
    """No job, delivery or dead letter has this name or id. Other ids of the same command may have been found."""

    exit_code = ExitCode.NOT_FOUND


class AlreadyExists(UsageError):
    """A job with this id was submitted or registered already, or a folder exists; nothing was sent or written."""

    exit_code = ExitCode.EXISTS


class ReferenceExists(AlreadyExists):
    """A job with this reference was submitted or registered already; nothing was sent."""


class Interrupted(ListenerError):
    """SIGINT ended a command in the middle of its work; the message says what was done, and how to go on."""

    exit_code = ExitCode.INTERRUPTED


class AddressInUse(ListenerError):
    """Another process listens at our address. It may end, hence the exit code of what is unavailable."""

    exit_code = ExitCode.UNAVAILABLE


class StoreInUse(ListenerError):
    """Another daemon runs on this SQLite file. It may be about to end, hence the exit code of what is unavailable."""

    exit_code = ExitCode.UNAVAILABLE


class FailureKind(StrEnum):
    """The class of a failure, which determines the hint and the back-off."""

    TIMEOUT = "timeout"
    REFUSED = "refused"  #: connection refused: certainly nothing was executed
    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    THROTTLED = "throttled"
    SERVER = "server"
    PROTOCOL = "protocol"  #: a reply that is not from the service, e.g. the HTML page of a proxy
    CREDENTIALS = "credentials"
    CLOCK = "clock"
    MISSING = "missing"  #: the queue or pipeline does not exist
    DENIED = "denied"


class StoreFailureKind(StrEnum):
    """The class of a failure of the store."""

    TIMEOUT = "timeout"  #: no answer within ``store.timeout``
    LOCKED = "locked"  #: another process, or another thread, holds a lock for too long
    DISK_FULL = "disk-full"
    READ_ONLY = "read-only"
    CONNECTION = "connection"  #: the server cannot be reached, or ended the session
    DATABASE = "database"  #: any other error that the database reports


class UnavailableError(ListenerError):
    """A service or the store is unavailable; it may be available later."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(
        self, message: str, *, kind: FailureKind | StoreFailureKind, code: str = "", hint: str = ""
    ) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.kind = kind
        self.code = code  #: the vendor's error code, if any
        self.hint = hint


class QueueUnavailable(UnavailableError):
    """The MNS queue is unavailable."""


class MpsUnavailable(UnavailableError):
    """The MPS API is unavailable. The request may or may not have been executed."""

    def __init__(
        self,
        message: str,
        *,
        kind: FailureKind | StoreFailureKind,
        code: str = "",
        hint: str = "",
        sent: bool = True,
    ) -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)
        self.sent = sent  #: False: there was no connection, so it was certainly not executed


class StoreUnavailable(UnavailableError):
    """The store is unavailable."""

    kind: StoreFailureKind

    def __init__(self, message: str, *, kind: StoreFailureKind, code: str = "", hint: str = "") -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)


class DrainIncomplete(ListenerError):
    """A drain has done all it can: what is left are deliveries for which this process has no handler."""

    exit_code = ExitCode.DRAIN_INCOMPLETE

    def __init__(self, left: Mapping[tuple[str, str], int]) -> None:
        """``left``: how many deliveries, by route and handler."""
        each = ", ".join(
            f"{count} for the handler {handler!r} of the route {route!r}"
            for (route, handler), count in sorted(left.items())
        )
        super().__init__(
            f"deliveries are left, since their routes or handlers are not in these settings: {each}; "
            "add these handlers, or make the deliveries dead letters with `mns-listener deliveries cancel` and "
            "replay them: a replay uses the current routes"
        )


class TooManyWaiting(ListenerError):
    """So many accepted jobs wait to be submitted that no more are accepted."""

    exit_code = ExitCode.UNAVAILABLE


class LeaseLost(ListenerError):
    """An application settles an attempt that is not the current one any more, or has been settled otherwise."""


class StopTimedOut(ListenerError):
    """Parts of the daemon did not end in time when it was stopped; the process ends without them."""

    exit_code = ExitCode.HUNG

    def __init__(self, hung: Sequence[str]) -> None:
        super().__init__(f"the stop took too long; these did not end: {', '.join(hung)}")
        self.hung = tuple(hung)


class StoreRejected(ListenerError):
    """The database rejects these values, or cannot return them, however often that is tried: the store itself works.

    ``code`` is the database's error code, if any.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class MpsRejected(ListenerError):
    """MPS rejected the request permanently.

    ``code`` is the vendor's error code, e.g. ``InvalidParameter.JsonFormatInvalid``; ``request_id`` is what its
    support asks for.
    """

    def __init__(self, message: str, *, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class Undecodable(ListenerError):
    """A message body is not a callback. ``reason`` is stored with it in quarantine."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HandlerDecision(ListenerError):
    """Base of the errors that a handler may raise to decide about its delivery."""


class Retry(HandlerDecision):
    """Retry this delivery later; counts as an attempt.

    ``after`` is the delay, in seconds or as a timedelta; without it the back-off of the route applies.
    """

    counts: ClassVar[bool] = True

    def __init__(self, reason: str = "", *, after: timedelta | float | None = None) -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.after = after if isinstance(after, timedelta) or after is None else timedelta(seconds=after)


class Unavailable(Retry):
    """A dependency of the handler is down. Retry this delivery later, without spending an attempt."""

    counts = False


class Reject(HandlerDecision):
    """This delivery cannot succeed: make it a dead letter immediately, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Offer(HandlerDecision):
    """The delivery is left to applications, which pull it. For the handler ``pull`` only."""

    def __init__(self) -> None:
        super().__init__("applications may pull the delivery")
