"""The image of container/Containerfile, built and started."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.emulator import Options
from listener.emulator.server import running
from tests.supply.locks import locked_versions
from tests.support.image import STATE, Image, built
from tests.support.supervised import QUEUE, children_of
from tests.support.waiting import wait_until

#: No such user is in the image; group 0 is what platforms give users that they choose themselves.
UNKNOWN = "12345:0"
BOUND = 120.0

SETTINGS = """\
[http]
listen = "unix:http.sock"

[correlation]
wait = "0s"

[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"
wait = "1s"

[credentials]
access_key_id_file = "/var/lib/mns-listener/id"
access_key_secret_file = "/var/lib/mns-listener/secret"

[[routes]]
name = "all"
handlers = [{{ use = "command", argv = ["sh", "-c", "{script}"] }}]
"""
#: Leaves an orphan behind, which ends later, and tries to write outside of the volume. It is in another session from
#: its start, since what is left in the group of the script is terminated with it, and leads its own at its end.
SCRIPT = "setsid sh -c '(sleep 0.1; exec setsid touch orphan) &'; touch /opt/written; id -u > handled"
VERSIONS = """\
import json, platform
from importlib.metadata import distributions
found = {d.metadata["Name"].lower().replace("_", "-").replace(".", "-"): d.version for d in distributions()}
print(json.dumps([found, platform.python_version(), platform.machine()]))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with built() as image:
        yield image


def test_it_runs_as_pid_1_and_an_unknown_user_on_a_read_only_root(image: Image, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running(Options(queues=(QUEUE,))) as emulator:
        state.mkdir()
        text = SETTINGS.format(endpoint=emulator.url, queue=QUEUE, script=SCRIPT)
        for name, content in {"listener.toml": text, "id": "testKeyId", "secret": "testKeySecret"}.items():
            (state / name).write_text(content, "utf-8")
        with image.started("run", "-c", f"/{STATE}/listener.toml", state=state, user=UNKNOWN) as unshare:
            emulator.call(lambda there: there.deliver(QUEUE, '{"JobId": "1", "State": "Success"}'))
            wait_until((state / "orphan").exists, seconds=BOUND)
            (daemon,) = children_of(unshare.pid)
            wait_until(lambda: children_of(daemon) == [], seconds=BOUND)
            os.kill(daemon, signal.SIGTERM)
            output, _ = unshare.communicate(timeout=BOUND)

            assert unshare.returncode == 0, output
    assert (state / "handled").read_text() == "12345\n"
    assert not (image.root / "opt/written").exists()
    assert (state / "listener.db").stat().st_uid == 12345


def test_it_contains_the_locked_packages_and_no_other(image: Image, tmp_path: Path) -> None:
    """Neither pip nor build tools, and psycopg for the store in PostgreSQL."""
    python = ["/opt/mns-listener/bin/python", "-c", VERSIONS]
    with image.started(state=tmp_path / "state", user=UNKNOWN, entrypoint=python) as process:
        output, _ = process.communicate(timeout=BOUND)
    found, version, machine = json.loads(output)
    del found["mns-listener"]

    python_version = version.rpartition(".")[0]
    target = {"python_version": python_version, "python_full_version": version, "platform_machine": machine}
    assert found == locked_versions("runtime", target)
