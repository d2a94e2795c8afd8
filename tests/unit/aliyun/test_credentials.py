"""Where the access key comes from."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from listener.aliyun.credentials import KEY_ID, KEY_SECRET, TOKEN, AccessKey, credentials
from listener.core import clock
from listener.core.errors import FailureKind, SettingsError, UnavailableError
from listener.settings.sections import CredentialsSettings
from tests.support.forked import run_source
from tests.support.raw_server import http_reply, serving


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


#: The package keeps connections, and would send its next request on one that the server is closing just then.
CLOSED = "Connection: close\r\n"
ASK = """
import sys

for name in [each for each in sys.modules if each.startswith("alibabacloud_credentials")]:
    del sys.modules[name]  # it looks for its files when it is imported

from listener.settings.sections import CredentialsSettings
from listener.aliyun.credentials import credentials
from listener.core import clock
from listener.core.errors import UnavailableError
from listener.runtime import log_setup
log_setup.configure(format="json")
keys = credentials(CredentialsSettings())
for _ in range(3):
    try:
        print(keys.get_credentials().id)
    except UnavailableError as error:
        print(error.kind, error)
"""


def asked_of_the_chain(home: Path, **environ: str) -> str:
    """What a new process finds in this home; the package looks for its files when it is imported."""
    return ask(home, **environ).stdout.strip()


def ask(home: Path, source: str = ASK, **environ: str) -> subprocess.CompletedProcess[str]:
    """The process. The package never asks the metadata service of a virtual machine."""
    keys = {KEY_ID, KEY_SECRET, TOKEN}
    inherited = {name: value for name, value in os.environ.items() if name not in keys}
    chain = {"HOME": str(home), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    done = run_source(source, home, inherited | chain | environ)
    assert done.returncode == 0, done.stderr
    return done


def test_a_missing_key_is_reported_with_a_hint(tmp_path: Path) -> None:
    message = asked_of_the_chain(tmp_path)

    assert message.startswith(
        f"credentials no Alibaba Cloud access key found; set {KEY_ID} and {KEY_SECRET}, or"
    )
    assert "access_key_id_file" in message


def test_a_profile_file_is_found_by_the_default_chain(tmp_path: Path) -> None:
    profile = tmp_path / "credentials"
    profile.write_text("[default]\ntype = access_key\naccess_key_id = fromFile\naccess_key_secret = secret\n")

    assert (
        asked_of_the_chain(tmp_path, ALIBABA_CLOUD_CREDENTIALS_FILE=str(profile))
        == "fromFile\n" * 2 + "fromFile"
    )


EXPIRES = clock.now().replace(microsecond=0) + timedelta(hours=1)
EXPIRING = {
    "AccessKeyId": "expiring",
    "AccessKeySecret": "testKeySecret",
    "SecurityToken": "token",
    "Expiration": EXPIRES.strftime("%Y-%m-%dT%H:%M:%SZ"),
}
ASK_EXPIRY = ASK + "    print(keys.expiry)\n"


def test_the_expiry_of_a_key_of_a_service_is_known(tmp_path: Path) -> None:
    content = json.dumps(EXPIRING | {"Code": "Success"}).encode()
    with serving([http_reply(content, headers=CLOSED)]) as server:
        child = ask(tmp_path, ASK_EXPIRY, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    assert child.stdout.split() == ["expiring", str(int(EXPIRES.timestamp()))] * 3


def test_the_expiry_of_a_key_that_a_program_fetches_for_a_profile_is_known(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(
        json.dumps(
            {
                "mode": "StsToken",
                "access_key_id": "expiring",
                "access_key_secret": "testKeySecret",
                "sts_token": "token",
                "expiration": EXPIRING["Expiration"],
            }
        )
    )
    profile = {"name": "p", "mode": "External", "process_command": f"cat {tmp_path / 'key.json'}"}
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(json.dumps({"current": "p", "profiles": [profile]}))

    child = ask(tmp_path, ASK_EXPIRY)

    assert child.stdout.split() == ["expiring", str(int(EXPIRES.timestamp()))] * 3, child.stderr


def test_the_expiry_of_a_fixed_key_is_not_known(tmp_path: Path, files: CredentialsSettings) -> None:
    profile = tmp_path / "credentials"
    profile.write_text("[default]\ntype = access_key\naccess_key_id = fixed\naccess_key_secret = secret\n")
    child = ask(tmp_path, ASK_EXPIRY, ALIBABA_CLOUD_CREDENTIALS_FILE=str(profile))

    assert child.stdout.split() == ["fixed", "None"] * 3
    (keys := credentials(files)).get_credentials()
    assert keys.expiry is None


def test_a_service_that_has_no_key_is_an_outage_and_prints_no_tracebacks(
    tmp_path: Path,
) -> None:
    with serving([http_reply(b"no such role", status="404 Not Found", headers=CLOSED)]) as server:
        child = ask(tmp_path, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    assert child.stderr == ""
    lines = child.stdout.splitlines()
    assert len(lines) == 3
    assert all("no Alibaba Cloud access key found" in line and "http_code=404" in line for line in lines)


def test_an_incomplete_reply_of_a_service_is_quoted_without_its_secrets(tmp_path: Path) -> None:
    key = {
        "Code": "Success",
        "AccessKeyId": "id",
        "AccessKeySecret": "testKeySecret",
        "SecurityToken": "tokn",
    }
    with serving([http_reply(json.dumps(key).encode(), headers=CLOSED)]) as server:
        child = ask(tmp_path, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    assert '"AccessKeySecret": "***", "SecurityToken": "***"' in child.stdout
    assert ("testKeySecret" in child.stdout, child.stderr) == (False, "")


def test_a_key_that_is_not_renewed_in_time_is_logged_once_a_minute(
    tmp_path: Path,
) -> None:
    soon = (clock.now() + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = {
        "Code": "Success",
        "AccessKeyId": "expiring",
        "AccessKeySecret": "testKeySecret",
        "SecurityToken": "token",
        "Expiration": soon,
    }
    with serving([http_reply(json.dumps(key).encode(), headers=CLOSED)]) as server:
        child = ask(tmp_path, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    assert child.stdout.splitlines() == ["expiring"] * 3
    (line,) = [json.loads(each) for each in child.stderr.splitlines()]
    assert (line["event"], line["level"]) == ("credentials.not_renewed", "warning")
    assert "stale time is in the past" in line["error"]
    assert "testKeySecret" not in child.stderr


#: What a proxy or a broken service answers with instead of a key; the package raises something else for each.
NO_KEYS = [
    pytest.param(b"<html>busy</html>", id="html"),
    pytest.param(b"\xff\xfe", id="not-utf-8"),
    pytest.param(b"[]", id="list"),
    pytest.param(b"null", id="null"),
    pytest.param(json.dumps(EXPIRING | {"Code": "Success", "Expiration": None}).encode(), id="no-time"),
    pytest.param(json.dumps(EXPIRING | {"Code": "Success", "Expiration": "soon"}).encode(), id="wrong-time"),
]
#: For the package, a key is to be renewed 15 minutes before it expires.
STALE = http_reply(
    json.dumps(
        EXPIRING
        | {
            "Code": "Success",
            "Expiration": (clock.now() + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ).encode(),
    headers=CLOSED,
)


@pytest.mark.parametrize("answer", NO_KEYS)
def test_a_key_that_cannot_be_renewed_is_used_until_it_expires(tmp_path: Path, answer: bytes) -> None:
    with serving([STALE], [STALE], [http_reply(answer, headers=CLOSED)]) as server:
        child = ask(tmp_path, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    assert child.stdout.splitlines() == ["expiring"] * 3
    lines = [json.loads(each) for each in child.stderr.splitlines()]
    assert {(line["event"], line["level"]) for line in lines} == {("credentials.not_renewed", "warning")}


LATER = "clock.now = lambda now=clock.now: now() + timedelta(minutes=11)"
ASK_LATER = ASK.replace(
    "for _ in range(3):",
    f"from datetime import timedelta\nkeys.get_credentials()\n{LATER}\nfor _ in range(3):",
)


@pytest.mark.parametrize("answer", NO_KEYS)
def test_whatever_a_service_answers_instead_of_a_key_is_an_outage(tmp_path: Path, answer: bytes) -> None:
    with serving([STALE], [STALE], [http_reply(answer, headers=CLOSED)]) as server:
        child = ask(tmp_path, ASK_LATER, ALIBABA_CLOUD_CREDENTIALS_URI=f"{server.url}/key")

    lines = child.stdout.splitlines()
    assert len(lines) == 3
    assert all("no Alibaba Cloud access key found" in line for line in lines)
