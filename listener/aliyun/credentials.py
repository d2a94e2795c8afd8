"""The access key: from files, the environment, or the default chain of alibabacloud-credentials."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listener.core import clock
from listener.core.errors import FailureKind, SettingsError, UnavailableError
from listener.core.logger import get_logger
from listener.runtime.log_throttle import ThrottledLog
from listener.settings.sections import CredentialsSettings

log = get_logger(__name__)

#: The logger of alibabacloud-credentials.
PACKAGE_LOGGER = "credentials"
#: Its texts may quote replies of a service that issues keys.
_SECRET = re.compile(r'("(?:AccessKeySecret|SecurityToken)"\s*:\s*")[^"]*', re.IGNORECASE)
#: Where the package's chain and its profiles keep the provider that they use, from the outside in. A release without
#: them only hides the expiry, and fails a test.
_INNER_PROVIDERS = (
    "_DefaultCredentialsProvider__last_used_provider",
    "_CLIProfileCredentialsProvider__innerProvider",
    "_ProfileCredentialsProvider__innerProvider",
)
KEY_ID, KEY_SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A snapshot of the key. Keys of the chain rotate, so get a new one for every request."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    # The interface of the SDK's signer. A token of None would break every request.

    def get_access_key_id(self) -> str:
        return self.id

    def get_access_key_secret(self) -> str:
        return self.secret

    def get_security_token(self) -> str:
        return self.security_token


_NO_KEY = AccessKey("", "")


class Credentials:
    """Provides the current key. May be used from several threads. Raises UnavailableError."""

    def __init__(
        self, source: Callable[[], AccessKey], *, expiry: Callable[[], int | None] = lambda: None
    ) -> None:
        self._source = source
        self._expiry = expiry

    def get_credentials(self) -> AccessKey:
        """The method that the SDK calls on a ``credentials_provider``."""
        return self._source()

    @property
    def expiry(self) -> int | None:
        """The Unix time at which the key that was provided last expires; None if nothing tells it."""
        return self._expiry()


def credentials(settings: CredentialsSettings) -> Credentials:
    """The files in the settings, else the default chain. Raises SettingsError for files that cannot be read."""
    if settings.access_key_id_file and settings.access_key_secret_file:
        files = _KeyFiles(settings)
        try:
            files()
        except UnavailableError as error:
            raise SettingsError(str(error)) from error
        return Credentials(files)
    chain = _Chain()
    return Credentials(chain, expiry=lambda: chain.expiry)


class _KeyFiles:
    """Reads the files for every request, since a rotated secret is a new file; the page cache makes this cheap.

    A file that is missing while it is being replaced is an outage, not a configuration error.
    """

    def __init__(self, settings: CredentialsSettings) -> None:
        self._settings = settings

    def __call__(self) -> AccessKey:
        settings = self._settings
        return AccessKey(
            _text_of(settings.access_key_id_file, "access_key_id_file"),
            _text_of(settings.access_key_secret_file, "access_key_secret_file"),
            _text_of(settings.security_token_file, "security_token_file"),
        )


def _text_of(path: Path | None, name: str) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(
            f"credentials.{name} = {str(path)!r} cannot be read: {error}",
            kind=FailureKind.CREDENTIALS,
            hint="use a file that the user running mns-listener can read",
        ) from error
    if not text:
        raise UnavailableError(
            f"credentials.{name} = {str(path)!r} is empty",
            kind=FailureKind.CREDENTIALS,
            hint="write the value to this file",
        )
    return text


class _Chain:
    """The default chain. Its first link, the environment, is implemented here, since the package takes 15 MB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = None
        self._key = _NO_KEY  #: that the package provided last
        self.expiry: int | None = None  #: of the key that was provided last
        self._complaints = _Complaints()
        self._warnings = ThrottledLog(log)

    def __call__(self) -> AccessKey:
        # A trailing line break, as left by files and pipes, cannot be sent in a header.
        key_id, secret, token = (os.environ.get(name, "").strip() for name in (KEY_ID, KEY_SECRET, TOKEN))
        if key_id and secret:
            self._key, self.expiry = _NO_KEY, None
            return AccessKey(key_id, secret, token)
        return self._from_package()

    def _from_package(self) -> AccessKey:
        from alibabacloud_credentials.client import Client

        try:
            with self._lock:
                self._client = self._client or Client()
                self._complaints.listen()
                found = self._client.get_credential()
                if found.access_key_id != self._key.id:  # a renewed key has another id
                    self.expiry = _expiry(self._client.cloud_credential.provider)
                self._key = AccessKey(
                    str(found.access_key_id or ""),
                    str(found.access_key_secret or ""),
                    str(found.security_token or ""),
                )
        except Exception as error:  # what a reply of a service breaks in the package has no common type
            self._complaints.take()  # the error says the same
            return self._present_key(_masked(str(error)))
        if complaint := self._complaints.take():
            self._warn(complaint)
        return self._key

    def _present_key(self, reason: str) -> AccessKey:
        """The key that was not renewed, until it expires: the package tries to renew it 15 minutes before. Raises
        UnavailableError."""
        key, expiry = self._key, self.expiry
        if expiry is None or clock.now().timestamp() >= expiry:
            raise UnavailableError(
                "no Alibaba Cloud access key found",
                kind=FailureKind.CREDENTIALS,
                hint=f"set {KEY_ID} and {KEY_SECRET}, or [credentials] access_key_id_file and "
                f"access_key_secret_file ({reason})",
            ) from None  # its text may contain a secret
        self._warn(reason)
        return key

    def _warn(self, reason: str) -> None:
        self._warnings.warning(
            "credentials.not_renewed",
            error=reason,
            hint="the present key is used until it expires; verify that the service that issues it is "
            "reachable, such as the RAM role of the machine",
        )


def _expiry(provider: Any) -> int | None:
    """When the present key of a provider of the package expires, as the innermost provider knows it.

    Those around it leave it out of what they return, and have no other access to the inner one.
    """
    for attribute in _INNER_PROVIDERS:
        provider = getattr(provider, attribute, None) or provider
    expiry = provider.get_credentials().get_expiration()
    return int(expiry) if expiry and expiry > 0 else None


class _Complaints(logging.Handler):
    """What the package logs about keys, instead of printing it: three times, with tracebacks, at every attempt."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._first = ""

    def listen(self) -> None:
        """Replace the handlers that the modules of the package add to its logger."""
        logger = logging.getLogger(PACKAGE_LOGGER)
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._first = self._first or _masked(record.getMessage().partition("\n")[0])

    def take(self) -> str:
        """The first complaint since the last call; empty if there was none."""
        first, self._first = self._first, ""
        return first


def _masked(text: str) -> str:
    return _SECRET.sub(r"\1***", text)
