"""container/ promises what the code keeps. No engine is needed: the files are read, the commands in them are run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from listener.cli import COMMANDS
from listener.dispatch.handler_loader import load, options_of
from listener.emulator import Options
from listener.emulator.server import running
from listener.settings import loader
from listener.settings.sections import HttpSettings, ServiceSettings
from tests.support import ROOT
from tests.support.cases import each_case
from tests.support.program import unused_endpoint
from tests.support.results import a_job_result
from tests.support.settings_names import named_in, unknown
from tests.support.supervised import QUEUE, a_daemon, write_settings
from tests.support.waiting import wait_until

FOLDER = ROOT / "container"
SECRET = FOLDER / "webhook-secret.example"
CLOSING = timedelta(seconds=10)
PROBE = 'CMD(?= ."python")'


def text_of(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def instruction(name: str) -> list[str]:
    """The words of one of the image's instructions."""
    (found,) = re.findall(rf"^\s*{name} (\[.*\])$", text_of("Containerfile"), re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


def seconds_of(name: str, pattern: str) -> timedelta:
    (found,) = re.findall(pattern, text_of(name))
    return timedelta(seconds=int(found))


@each_case("path", [path for path in sorted(FOLDER.iterdir()) if path.is_file()], ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    assert unknown(named_in(path.read_text("utf-8"))) == []


def test_image_copies_what_is_there_and_what_is_not_ignored() -> None:
    allowed = {line[1:] for line in text_of("Containerfile.dockerignore").splitlines() if line[0] == "!"}
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", text_of("Containerfile"), re.MULTILINE)
        for name in line.split()[:-1]
    }

    assert copied == allowed
    assert [name for name in copied if not (FOLDER.parent / name).exists() and name != "README.md"] == []


def test_image_installs_nothing_unverified() -> None:
    """Each pip either verifies hashes, or has no index and installs what such a pip has made."""
    text = re.sub(r"\\\n", "", text_of("Containerfile"))
    calls = re.findall(r"pip [^&\n]*?(?:install|wheel) [^&\n]*", text)

    assert len(calls) == 4
    assert [call for call in calls if "--require-hashes" not in call and "--no-index" not in call] == []
    assert [call for call in calls if " wheel " in call and "--no-build-isolation" not in call] == []


def test_image_runs_a_command_that_exists_without_root_and_without_a_shell() -> None:
    assert instruction("ENTRYPOINT") == ["mns-listener"]
    assert instruction('CMD(?= ."run")') == ["run"]
    assert "run" in COMMANDS
    assert re.findall(r"^USER (\S+)$", text_of("Containerfile"), re.MULTILINE) == ["10001:10001"]


def test_commands_in_a_container_read_the_file_that_the_examples_mount() -> None:
    (path,) = re.findall(r"^ENV MNS_LISTENER_CONFIG=(\S+)$", text_of("Containerfile"), re.MULTILINE)

    assert f"- ./listener.toml:{path}:ro" in text_of("compose.yaml")
    assert f"mountPath: {Path(path).parent}," in text_of("kubernetes.yaml")
    assert [name for name in ("compose.yaml", "kubernetes.yaml") if f"-c {path}" in text_of(name)] == []


def test_containers_are_given_longer_than_the_shutdown_timeout() -> None:
    shutdown_timeout = ServiceSettings().shutdown_timeout + CLOSING

    assert seconds_of("compose.yaml", r"stop_grace_period: (\d+)s") >= shutdown_timeout
    assert seconds_of("kubernetes.yaml", r"terminationGracePeriodSeconds: (\d+)") >= shutdown_timeout


def test_examples_share_one_set_of_settings() -> None:
    document = re.findall(r"listener\.toml: \|\n((?:    .*\n|\n)+)", text_of("kubernetes.yaml"))[0]
    written = loader.load(dedent(document), {})
    settings = loader.load(text_of("listener.toml"), {})
    settings.require_work()

    assert written == settings
    for handler in settings.routes[0].handlers:
        assert set(handler.options) <= set(options_of(handler.use))


def test_probes_of_image_and_pod_are_the_same() -> None:
    probe = instruction(PROBE)[2]

    assert HttpSettings().listen in probe
    assert re.findall(r"- (import urllib.*)$", text_of("kubernetes.yaml"), re.MULTILINE) == [probe, probe]


@pytest.mark.process
def test_probe_succeeds_while_the_daemon_lives_and_fails_without_one(tmp_path: Path) -> None:
    port = unused_endpoint().rpartition(":")[2]
    probe = [sys.executable, *(word.replace(":8471/", f":{port}/") for word in instruction(PROBE)[1:])]

    def alive() -> bool:
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0

    with running(Options(queues=(QUEUE,))) as emulator:
        settings = write_settings(tmp_path, emulator.url)
        assert not alive()
        with a_daemon(settings, environment={"MNS_LISTENER_HTTP__LISTEN": f"127.0.0.1:{port}"}):
            wait_until(alive)


@pytest.mark.process
def test_receiver_takes_what_the_webhook_handler_sends_once_and_nothing_forged(tmp_path: Path) -> None:
    program = [sys.executable, str(FOLDER / "receiver.py"), "0", str(SECRET)]
    forged = tmp_path / "forged"
    forged.write_text("whsec_Zm9yZ2Vk")
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout
        url = f"http://127.0.0.1:{receiver.stdout.readline().split()[-1]}/mps"
        known = load("webhook", {"url": url, "secret_file": str(SECRET)}, where="here")
        forger = load("webhook", {"url": url, "secret_file": str(forged)}, where="here")
        with pytest.raises(RuntimeError, match="responded 401"):
            forger(a_job_result(job_id="forged"))
        known(a_job_result(job_id="one", key="1"))
        known(a_job_result(job_id="one", key="1"))
        known(a_job_result(job_id="two", key="2"))
        lines = [receiver.stdout.readline() for _ in range(2)]
        for handler in (known, forger):
            handler.close()  # type: ignore[attr-defined]  # a webhook has one
        receiver.terminate()

    assert [line.split()[0] for line in lines] == ["one", "two"]
