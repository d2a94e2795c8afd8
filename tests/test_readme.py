"""README.md can be followed word by word."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from shutil import which

import pytest

from tests.support import ROOT
from tests.support.forked import run_source
from tests.support.forked_command import forked_command
from tests.support.packages import installed
from tests.support.program import unused_endpoint

README = (ROOT / "README.md").read_text("utf-8")
TOUR = "\n".join(re.findall(r"<!-- tour -->\n```sh\n(.*?)```", README, re.DOTALL))
#: Seconds; a dozen programs are started one after the other, on a machine that may be busy.
TIMEOUT = 900
KEY = b"testSecret"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def block(language: str) -> str:
    return README.split(f"```{language}\n")[1].split("```")[0]


def follow(tour: str, folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run it in a shell that stops at the first failure; nothing it started outlives it."""
    with (
        (folder / "stderr").open("a+") as stderr,
        (folder / "stdout").open("a+") as stdout,
        subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", tour],
            cwd=folder,
            env=environment,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        ) as shell,
    ):
        try:
            status = shell.wait(TIMEOUT)
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # all of it has ended, as it should
    return status, (folder / "stdout").read_text("utf-8"), (folder / "stderr").read_text("utf-8")


@pytest.mark.process
def test_the_tour_goes_as_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    port = unused_endpoint().rpartition(":")[2]
    with forked_command(tmp_path / "bin") as programs:
        path = f"{programs}:{os.environ['PATH']}"
        status, out, err = follow(TOUR, folder, {**os.environ, "PATH": path, "PORT": port})

    assert status == 0, out + err
    covers = [json.loads(line) for line in (folder / "covers.jsonl").read_text("utf-8").splitlines()]
    captions = json.loads((folder / "captions" / "latest.json").read_text("utf-8"))
    assert [(line["route"], line["state"]) for line in covers] == [("covers", "Success")] * 2
    assert covers[0]["data"]["article"] == 7
    assert captions["reference"] == "talk-7"
    assert "replayed 1 dead letter\n" in out


def test_readme_begins_with_the_two_commands() -> None:
    assert block("sh").splitlines() == ["make demo", "make test"]
    for command in block("sh").splitlines():
        assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text("utf-8")


CALL_TWICE = """
from pathlib import Path
from listener import JobResult
from listener.dispatch.handler_loader import load
from listener.settings.file_paths import TextInFile

handle = load("ledger", {"path": TextInFile.of("ledger.db", Path.cwd())}, where="here")
result = JobResult(key="1", job_id="one", state="Success")
handle(result)
handle(result)
"""


def test_the_handler_package_can_be_installed_and_works(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "ledger.py").write_text(block("python"), "utf-8")
    (package / "pyproject.toml").write_text(block("toml"), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(installed(package, tmp_path))}

    done = run_source(CALL_TWICE, tmp_path, environment)

    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("SELECT * FROM ledger").fetchall() == [("1", "one")]
    assert len((block("python") + block("toml")).strip().splitlines()) < 20


def verified_by_node(headers: dict[str, str], body: str) -> str:
    """What ``verified`` of the README prints as its answer, or what it ends with."""
    arguments = ", ".join(json.dumps(each) for each in (SECRET, headers, body))
    done = subprocess.run(
        ["node", "-e", f"{block('js')}\nconsole.log(verified({arguments}))"],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() + done.stderr


def signed_headers(key: bytes, body: str) -> dict[str, str]:
    now = str(int(time.time()))
    digest = hmac.digest(key, f"id.{now}.{body}".encode(), "sha256")
    return {
        "webhook-id": "id",
        "webhook-timestamp": now,
        "webhook-signature": f"v1,AAAA v1,{base64.b64encode(digest).decode()}",
    }


@pytest.mark.skipif(which("node") is None, reason="Node.js is not here")
@pytest.mark.parametrize(("key", "good"), [(KEY, "true"), (b"another", "false")])
def test_the_node_receiver_knows_a_good_signature(key: bytes, good: str) -> None:
    body = '{"job_id": "早"}'

    assert verified_by_node(signed_headers(key, body), body) == good


@pytest.mark.skipif(which("node") is None, reason="Node.js is not here")
@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_the_node_receiver_rejects_a_request_without_a_header(missing: str) -> None:
    headers = signed_headers(KEY, "{}")
    del headers[missing]

    assert verified_by_node(headers, "{}") == "false"
