"""The applications in container/examples, which use no SDK: each effect happens once, whatever is killed."""

from __future__ import annotations

import base64
import hmac
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import pytest
from sqlalchemy import update

from listener.store.tables import EPOCH, deliveries
from tests.support import ROOT
from tests.support.daemon_http import tcp_client
from tests.support.program import Place, Program, unused_endpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

APP = ROOT / "container" / "examples" / "node" / "app.mjs"
PULL = ROOT / "container" / "examples" / "shell" / "pull.sh"
#: Seconds; long enough for a shell, curl and an effect on a busy machine, or nothing would ever be settled.
LEASE = "20"
TOKEN = "writer-0123456789"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
TO_APPLICATIONS = """\
[[routes]]
name = "all"
retry = {{ initial_backoff = "0s", max_attempts = 1000 }}
handlers = [{{ use = "pull", lease = "2s" }}]
"""
#: Makes a file that is named by the key, complete or not at all, and notes each call.
ONCE = """\
document=$(cat)
key=$(printf '%s' "$document" | jq -r .key | sha256sum | cut -c -64)
echo "$key" >> calls
printf '%s' "$document" > "draft.$$" && ln "draft.$$" "effects/$key.json" 2> error.$$ || test -e "effects/$key.json"
"""


@pytest.fixture
def effects(place: Place) -> Path:
    folder = place.folder / "effects"
    folder.mkdir()
    (place.folder / "token").write_text(f"{TOKEN}\n")
    (place.folder / "secret").write_text(f"{SECRET}\n")
    place.settings(TO_APPLICATIONS)
    return folder


class Application:
    """A child process that is restarted at the same settings."""

    def __init__(self, *command: str, place: Place, environment: Mapping[str, str]) -> None:
        self._command, self._folder = command, place.folder
        self._environment = {
            **os.environ,
            "LISTENER_TOKEN_FILE": str(place.folder / "token"),
            "WEBHOOK_SECRET_FILE": str(place.folder / "secret"),
            **environment,
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def output(self) -> str:
        """What it printed until its end."""
        assert self._process is not None
        return self._process.communicate(timeout=300)[0]

    def kill(self) -> None:
        """With what it has started."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, 9)
            self._process.communicate()


@contextmanager
def application(*command: str, place: Place, **environment: str) -> Iterator[Application]:
    made = Application(*command, place=place, environment=environment)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def start(place: Place, url: str) -> Program:
    return place.run(
        http__listen=url.removeprefix("http://"), http__token_file="token", dispatch__lease="2s"
    ).ready()


def expire_leases(place: Place) -> None:
    """As if the time had passed for which the killed application has its deliveries."""
    with place.store() as store, store.database.write() as connection:
        connection.execute(
            update(deliveries).where(deliveries.c.state == "running").values(lease_until=EPOCH)
        )


def made(effects: Path) -> dict[str, Any]:
    """The job of each effect, by its key."""
    documents = [json.loads(path.read_text()) for path in effects.glob("*.json")]
    return {document["key"]: document["job_id"] for document in documents}


@pytest.mark.long
@pytest.mark.parametrize("who", ["node", "shell"])
def test_each_effect_happens_once_whatever_is_killed(place: Place, effects: Path, who: str) -> None:
    url = unused_endpoint()
    command = {
        "node": ("node", str(APP), "pull", "all", str(effects)),
        "shell": (str(PULL), "all", "sh", "-c", ONCE),
    }[who]
    program = start(place, url)
    with application(*command, place=place, LISTENER_URL=url, LEASE=LEASE) as app:
        for victim in ("application", "daemon", "application"):
            before = len(made(effects))
            place.send(*(f"{victim}-{before}-{number}" for number in range(8)))
            wait_until(lambda before=before: len(made(effects)) > before)  # type: ignore[misc] # a default in a lambda
            if victim == "daemon":
                program.kill()
                program = start(place, url)
            else:
                app.kill()
                expire_leases(place)
                app.start()
        wait_until(lambda: place.delivery_states() == {"done": 24}, seconds=300)

    assert len(set(made(effects).values())) == 24
    assert program.stop() == 0


def test_a_job_is_submitted_once_and_waited_for_without_an_sdk(place: Place, effects: Path) -> None:
    url = unused_endpoint()
    program = start(place, url)
    outputs = []
    for _ in range(2):
        with application("node", str(APP), "submit", "talk-7", place=place, LISTENER_URL=url) as app:
            outputs.append(app.output())

    assert outputs[0] == outputs[1]
    assert outputs[0].endswith(" Success\n")
    assert place.asked("SubmitIProductionJob") == 1
    assert program.stop() == 0


@pytest.mark.parametrize("example", [APP, APP.with_name("listener.mjs"), PULL], ids=lambda path: path.name)
def test_what_an_example_reads_is_no_setting_of_the_daemon(example: Path) -> None:
    """Such a variable, exported in a shell, would make every command of mns-listener end with status 78."""
    assert "MNS_LISTENER_" not in example.read_text("utf-8")


@pytest.mark.parametrize(
    "command",
    [("node", str(APP)), ("node", str(APP), "submit"), ("node", str(APP), "toString"), (str(PULL), "all")],
    ids=["node", "node-submit", "node-unknown", "shell"],
)
def test_an_example_says_how_it_is_used(command: tuple[str, ...]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("route", "token", "status"), [("none", TOKEN, 404), ("all", "another-0123456789", 401)]
)
def test_the_shell_example_says_why_it_gets_nothing(
    place: Place, effects: Path, route: str, token: str, status: int
) -> None:
    url = unused_endpoint()
    start(place, url)
    (place.folder / "given").write_text(token)
    told = place.folder / "told"
    environment = {
        **os.environ,
        "LISTENER_URL": url,
        "LISTENER_TOKEN_FILE": str(place.folder / "given"),
    }
    with (
        told.open("w") as errors,
        subprocess.Popen(
            (str(PULL), route, "true"), stderr=errors, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: f" {status}" in told.read_text())
        finally:
            os.killpg(process.pid, 9)


def test_a_webhook_is_believed_only_with_its_signature(place: Place, effects: Path) -> None:
    url = unused_endpoint()
    place.settings(
        f'[[routes]]\nname = "all"\nretry = {{{{ initial_backoff = "0s" }}}}\nhandlers = [{{{{ use = "webhook", '
        f'url = "{url}", secret_file = "secret" }}}}]\n'
    )
    program = place.run().ready()
    place.send("one")
    port = url.rpartition(":")[2]
    with application("node", str(APP), "webhook", port, str(effects), place=place):
        wait_until(lambda: place.delivery_states() == {"done": 1})
        for headers in ({}, signed(b"{}", secret=b"another"), signed(b"{}", at="0")):
            assert post(url, b"{}", headers) == 401
        document = json.dumps({"key": "one:Success:all:webhook", "job_id": "copy"}).encode()
        assert post(url, document, signed(document)) == 204

    assert made(effects) == {"one:Success:all:webhook": "one"}
    assert program.stop() == 0


def post(url: str, content: bytes, headers: Mapping[str, str]) -> int:
    with tcp_client(url) as client:
        return client.post("", content=content, headers=headers).status_code


def signed(body: bytes, *, secret: bytes = b"0123456789abcdef01234567", at: str = "") -> dict[str, str]:
    """The headers of Standard Webhooks."""
    stamp = at or str(int(time()))
    digest = hmac.new(secret, b".".join([b"id", stamp.encode(), body]), sha256).digest()
    return {
        "webhook-id": "id",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
