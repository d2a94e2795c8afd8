"""Where the access key comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from listener.aliyun.credentials import KEY_ID, KEY_SECRET, TOKEN, AccessKey, credentials
from listener.core.errors import FailureKind, SettingsError, UnavailableError
from listener.settings.sections import CredentialsSettings
from tests.support import ROOT


@pytest.fixture
def files(tmp_path: Path) -> CredentialsSettings:
    for name in ("id", "secret", "token"):
        (tmp_path / name).write_text(f"test-{name}\n")
    return CredentialsSettings(
        access_key_id_file=tmp_path / "id",
        access_key_secret_file=tmp_path / "secret",
        security_token_file=tmp_path / "token",
    )


def test_files_win_over_the_environment(files: CredentialsSettings) -> None:
    assert credentials(files).get_credentials() == AccessKey("test-id", "test-secret", "test-token")


def test_a_rotated_key_is_used_at_once(files: CredentialsSettings, tmp_path: Path) -> None:
    keys = credentials(files)
    (tmp_path / "secret").write_text("rotated")

    assert keys.get_credentials().secret == "rotated"


def test_a_file_that_is_gone_for_a_moment_is_an_outage(files: CredentialsSettings, tmp_path: Path) -> None:
    keys = credentials(files)
    (tmp_path / "secret").unlink()

    with pytest.raises(
        UnavailableError, match=r"access_key_secret_file = '.*secret' cannot be read"
    ) as caught:
        keys.get_credentials()
    assert caught.value.kind is FailureKind.CREDENTIALS

    (tmp_path / "secret").write_text("back")
    assert keys.get_credentials().secret == "back"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: .*; use a file that", id="missing"),
        pytest.param(b" \n", "is empty; write the value to this file", id="empty"),
        pytest.param(b"\xff\xfe", "cannot be read: ", id="no-text"),
    ],
)
def test_a_file_that_never_was_a_key_stops_the_start(
    files: CredentialsSettings, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is None:
        (tmp_path / "id").unlink()
    else:
        (tmp_path / "id").write_bytes(content)

    with pytest.raises(SettingsError, match=rf"credentials\.access_key_id_file = '.*id' {message}"):
        credentials(files)


def test_the_environment_is_asked_anew_for_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = credentials(CredentialsSettings())
    monkeypatch.setenv(KEY_ID, "one")
    monkeypatch.setenv(KEY_SECRET, "secret\n")
    assert keys.get_credentials() == AccessKey("one", "secret", "")

    monkeypatch.setenv(KEY_ID, "two")
    monkeypatch.setenv(TOKEN, "token")
    assert keys.get_credentials() == AccessKey("two", "secret", "token")


ASK = """
from listener.settings.sections import CredentialsSettings
from listener.aliyun.credentials import credentials
from listener.core.errors import UnavailableError
try:
    print(credentials(CredentialsSettings()).get_credentials().id)
except UnavailableError as error:
    print(error.kind, error)
"""


def asked_of_the_chain(home: Path, **environ: str) -> str:
    """What a new process finds in this home; the package looks for its files when it is imported."""
    keys = {KEY_ID, KEY_SECRET, TOKEN}
    inherited = {name: value for name, value in os.environ.items() if name not in keys}
    child = subprocess.run(
        [sys.executable, "-c", ASK],
        env=inherited | {"HOME": str(home)} | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return child.stdout.strip()


def test_a_missing_key_is_reported_with_a_hint(tmp_path: Path) -> None:
    message = asked_of_the_chain(tmp_path)

    assert message.startswith(
        f"credentials no Alibaba Cloud access key found; set {KEY_ID} and {KEY_SECRET}, or"
    )
    assert "access_key_id_file" in message


def test_a_profile_file_is_found_by_the_default_chain(tmp_path: Path) -> None:
    profile = tmp_path / "credentials"
    profile.write_text("[default]\ntype = access_key\naccess_key_id = fromFile\naccess_key_secret = secret\n")

    assert asked_of_the_chain(tmp_path, ALIBABA_CLOUD_CREDENTIALS_FILE=str(profile)) == "fromFile"
