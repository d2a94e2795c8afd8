"""The results of ``mns-listener check``: how bad, about what, what was found, and how to put it right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from listener.core.exit_codes import ExitCode


class Level(StrEnum):
    """How bad a result is. Only a failure makes the exit status other than 0."""

    OK = "ok"
    WARNING = "warning"  #: it works, but probably not as was meant
    FAILED = "failed"


class CheckKind(StrEnum):
    """What is checked, in the order in which a person reads it; docs/operations.md lists all of them.

    The name of a result begins with it.
    """

    SETTINGS = "settings"
    SINGLE_DAEMON = "single daemon"
    STORE = "store"
    ACCEPTED_JOBS = "accepted jobs"
    DISK_SPACE = "disk space"
    STORE_FILES = "store files"
    HANDLERS = "handlers"
    WEBHOOK = "webhook"
    HTTP = "http"
    CLIENTS = "clients"
    LOG = "log"
    ACCESS_KEY = "access key"
    QUEUE = "queue"
    QUEUE_ENDPOINT = "queue endpoint"
    QUEUE_RETENTION = "queue retention"
    QUEUE_DELAY = "queue delay"
    QUEUE_VISIBILITY = "queue visibility"
    QUEUE_MESSAGE_SIZE = "queue message size"
    QUEUE_DEAD_LETTERS = "queue dead letters"
    CLOCK = "clock"
    MPS = "mps"
    MPS_ENDPOINT = "mps endpoint"
    PIPELINE = "pipeline"
    NOTIFY_URL = "notify url"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check. ``advice`` may be empty where nothing is to be done, or where ``detail`` says it."""

    level: Level
    kind: CheckKind
    subject: str = ""  #: which of several: a queue, a tenant, a handler
    detail: str
    advice: str = ""
    exit_code: ExitCode = ExitCode.OK

    @property
    def name(self) -> str:
        return f"{self.kind} {self.subject}".rstrip()
