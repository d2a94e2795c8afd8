"""The access key: from files, from the environment, or from alibabacloud-credentials' default chain."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listener.core.errors import FailureKind, SettingsError, UnavailableError
from listener.settings.sections import CredentialsSettings

KEY_ID, KEY_SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key as it is now; keys of the chain rotate, so ask again for every request."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    # What the SDK's signer asks for (facts: mns 1.3). A token of None would break every request.

    def get_access_key_id(self) -> str:
        return self.id

    def get_access_key_secret(self) -> str:
        return self.secret

    def get_security_token(self) -> str:
        return self.security_token


class Credentials:
    """Gives the current key. Safe to use from several threads. Raises UnavailableError."""

    def __init__(self, source: Callable[[], AccessKey]) -> None:
        self._source = source

    def get_credentials(self) -> AccessKey:
        """Named as the SDK's ``credentials_provider`` wants it."""
        return self._source()


def credentials(settings: CredentialsSettings) -> Credentials:
    """What the settings name, else the default chain. Raises SettingsError for files that can't be read now."""
    if settings.access_key_id_file and settings.access_key_secret_file:
        files = _Files(settings)
        try:
            files()
        except UnavailableError as error:
            raise SettingsError(str(error)) from error
        return Credentials(files)
    return Credentials(_Chain())


class _Files:
    """Read anew for every request: a rotated secret is a new file, and such files are a few bytes in memory.

    A file that is gone for a moment while it is replaced is an outage, not a mistake in the settings.
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
            f"credentials.{name} = {str(path)!r} can't be read: {error}",
            kind=FailureKind.CREDENTIALS,
            hint="name a file that the user who runs mns-listener may read",
        ) from error
    if not text:
        raise UnavailableError(
            f"credentials.{name} = {str(path)!r} is empty",
            kind=FailureKind.CREDENTIALS,
            hint="put the value into it",
        )
    return text


class _Chain:
    """The default chain. Its first link, the environment, is asked here, since the package weighs 15 MB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self) -> AccessKey:
        # A line break at the end, as files and pipes leave it, can't be sent as a header.
        key_id, secret, token = (os.environ.get(name, "").strip() for name in (KEY_ID, KEY_SECRET, TOKEN))
        if key_id and secret:
            return AccessKey(key_id, secret, token)
        return self._from_package()

    def _from_package(self) -> AccessKey:
        from alibabacloud_credentials.client import Client
        from alibabacloud_credentials.exceptions import CredentialException

        try:
            with self._lock:
                self._client = self._client or Client()
                found = self._client.get_credential()
        except CredentialException as error:
            raise UnavailableError(
                "no Alibaba Cloud access key was found",
                kind=FailureKind.CREDENTIALS,
                hint=f"set {KEY_ID} and {KEY_SECRET}, or [credentials] access_key_id_file and "
                f"access_key_secret_file ({error})",
            ) from error
        return AccessKey(found.access_key_id or "", found.access_key_secret or "", found.security_token or "")
