"""The only code that uses the MPS SDK, which is imported at the first call (0.6 s, 59 MB)."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from listener.aliyun import mps_error_codes, mps_submissions, network_errors
from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mps_answers import answers
from listener.aliyun.request_count import OK, REJECTED, OnRequest, not_counted
from listener.core.errors import (
    FailureKind,
    MpsRejected,
    MpsUnavailable,
    SettingsError,
    UnavailableError,
)
from listener.core.job_kinds import IPRODUCTION, JobKind, kind_of_type
from listener.core.model import Answer, Job, Submitted
from listener.runtime.rate_limit import RateLimiter
from listener.settings.sections import MpsSettings

CONNECT_TIMEOUT = timedelta(seconds=5)
REPLY_TIMEOUT = timedelta(seconds=15)
API_VERSION = "2014-06-18"
#: The code of the vendor for an id that it does not know (inferred); list queries name such ids in their reply instead.
NOT_FOUND = "InvalidParameter.ResourceNotFound"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of the API, as the SDK expects it."""

    host: str
    protocol: str

    @classmethod
    def of(cls, settings: MpsSettings) -> Endpoint:
        """Raises SettingsError."""
        if not settings.endpoint:
            return cls(f"mts.{settings.region}.aliyuncs.com", "https")
        try:
            parts = urlsplit(settings.endpoint)
            usable = parts.scheme in ("http", "https") and parts.hostname and not parts.path.strip("/")
            if usable and parts.port != 0:
                return cls(parts.netloc, parts.scheme)
        except ValueError:
            pass  # not a URL at all; reported below
        raise SettingsError(
            f"mps.endpoint = {settings.endpoint!r} must be http(s)://host[:port] without a path"
        )


def import_sdk() -> None:
    """Import what the first call of a client would import, so that its time does not count as that of the call."""
    for name in (
        "alibabacloud_mts20140618.client",
        "alibabacloud_tea_openapi.utils_models",
        "darabonba.runtime",
    ):
        importlib.import_module(name)


class MpsClient:
    """Implements ``listener.core.ports.MediaProcessing``. May be used from several threads."""

    def __init__(
        self, settings: MpsSettings, credentials: Credentials, *, on_request: OnRequest = not_counted
    ) -> None:
        """``on_request`` is called after every call with its name and outcome: ``ok``, ``rejected``, or the kind of its
        failure."""
        self._endpoint = Endpoint.of(settings)
        self._region = settings.region
        self._credentials = credentials
        self._on_request = on_request
        self._rate = RateLimiter(settings.rate_limit)
        self._lock = threading.Lock()
        self._client: tuple[AccessKey, Any] | None = None

    def submit(
        self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
    ) -> Submitted:
        kind = kind_of_type(job.kind) or IPRODUCTION
        reply = self._call(kind.submitted_by, mps_submissions.parameters(job, user_data), on_turn=on_turn)
        job_id = mps_submissions.job_id(job, reply)
        if not job_id:
            raise MpsUnavailable(
                f"{kind.submitted_by} returned no {kind.id}; it is unknown whether a job was created",
                kind=FailureKind.PROTOCOL,
            )
        return Submitted(job_id=job_id, outcome=mps_submissions.outcome(job, job_id, reply))

    def query(self, job_id: str, *, kind: JobKind = IPRODUCTION) -> Answer:
        found = self.query_all([job_id], kind=kind)
        if job_id not in found:
            raise MpsRejected(f"MPS: {kind.queried_by} finds no job {job_id}", code=NOT_FOUND)
        return found[job_id]

    def query_all(self, job_ids: Sequence[str], *, kind: JobKind) -> Mapping[str, Answer]:
        return answers(kind, job_ids, self.call(kind.queried_by, **{kind.ids: ",".join(job_ids)}))

    def call(self, action: str, **parameters: str | int) -> Mapping[str, Any]:
        """Any other call of the API; returns the members of its reply. Parameters that are empty are not sent.

        Without the SDK's models, which reject some of the shapes in which replies are documented.
        """
        return self._call(action, parameters)

    def _call(
        self,
        action: str,
        parameters: Mapping[str, str | int],
        *,
        on_turn: Callable[[], None] | None = None,
    ) -> Mapping[str, Any]:
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params

        query = {name: str(value) for name, value in parameters.items() if value != ""}
        params = Params(
            action=action,
            version=API_VERSION,
            style="RPC",
            pathname="/",
            method="POST",
            auth_type="AK",
            protocol="HTTPS",
            req_body_type="formData",
            body_type="json",
        )
        with self._counted(action):
            with self._translated(action):
                client = self._current()
            if on_turn:
                on_turn()
            with self._translated(action):
                reply = client.call_api(params, OpenApiRequest(query=query), _runtime())
        body = reply.get("body")
        return body if isinstance(body, dict) else {}

    def _current(self) -> Any:
        """A client with the current key, after waiting for the rate limit."""
        self._rate.wait()
        key = self._credentials.get_credentials()
        with self._lock:
            if self._client is None or self._client[0] != key:
                self._client = (key, self._connected(key))
            return self._client[1]

    def _connected(self, key: AccessKey) -> Any:
        from alibabacloud_mts20140618.client import Client
        from alibabacloud_tea_openapi.utils_models import Config

        return Client(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                security_token=key.security_token or None,
                endpoint=self._endpoint.host,
                protocol=self._endpoint.protocol,
                region_id=self._region,
            )
        )

    @contextmanager
    def _counted(self, action: str) -> Iterator[None]:
        try:
            yield
        except MpsRejected:
            self._on_request(action, REJECTED)
            raise
        except MpsUnavailable as error:
            self._on_request(action, error.kind)
            raise
        self._on_request(action, OK)

    @contextmanager
    def _translated(self, call: str) -> Iterator[None]:
        """The only place where errors of the SDK are translated."""
        where = f"MPS at {self._endpoint.protocol}://{self._endpoint.host}: {call}"
        try:
            yield
        except (SettingsError, MpsUnavailable):
            raise
        except UnavailableError as error:  # there is no access key
            raise MpsUnavailable(f"{where}: {error}", kind=error.kind, code=error.code) from error
        except Exception as error:  # the SDK does not wrap the errors of its HTTP stack
            if getattr(error, "code", None):
                raise _error_reply(where, error) from error
            raise _no_reply(where, error) from error


def _runtime() -> Any:
    from darabonba.runtime import RuntimeOptions

    return RuntimeOptions(
        autoretry=False,  # a submission sent twice creates two jobs
        connect_timeout=int(CONNECT_TIMEOUT.total_seconds() * 1000),
        read_timeout=int(REPLY_TIMEOUT.total_seconds() * 1000),
    )


def _error_reply(where: str, error: Any) -> MpsUnavailable | MpsRejected:
    """The error for an error reply; see the table in docs/mps.md."""
    code, text = str(error.code or ""), f"{where}: {error.code}: {error.message}"
    status = getattr(error, "status_code", None) or getattr(error, "statusCode", None) or 0
    rule = mps_error_codes.action_of(code, int(status))
    if rule.kind is None:
        request_id = str(getattr(error, "request_id", None) or "")
        return MpsRejected(f"{text}; {rule.hint}" if rule.hint else text, code=code, request_id=request_id)
    return MpsUnavailable(text, kind=rule.kind, code=code, hint=rule.hint)


def _no_reply(where: str, error: Exception) -> MpsUnavailable:
    """The error for a missing reply: unless there was no connection, MPS may have executed the request."""
    cause = network_errors.root_cause(error)
    kind = network_errors.failure_kind(cause)
    return MpsUnavailable(
        f"{where}: {network_errors.describe(cause)}",
        kind=kind,
        hint=network_errors.HINTS.get(kind, ""),
        sent=not (_is_without_connection(error) or network_errors.is_of_handshake(cause)),
    )


def _is_without_connection(error: Exception) -> bool:
    """Whether no connection could be made: its host is unreachable, for example, or does not answer."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return any(
        isinstance(each, ConnectTimeoutError | NewConnectionError) for each in network_errors.chain(error)
    )
