"""What SIGHUP changes in a running daemon."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.program import ALL_TO_FILE, Place, Program
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

TO_OTHER_FILE = """\
[[routes]]
name = "other"
handlers = [{{ use = "jsonl", path = "other.jsonl" }}]
"""
NO_MATCH = """\
[[routes]]
name = "other"
handlers = [{{ use = "no-such-handler" }}]
"""


def test_a_hang_up_makes_new_routes_count_for_what_comes(place: Place) -> None:
    place.settings()
    program = place.run().ready()
    place.send("1" * 32)
    wait_until(lambda: len(place.lines()) == 1)

    place.settings(TO_OTHER_FILE)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))
    place.send("2" * 32)

    wait_until(lambda: len(place.lines("other.jsonl")) == 1)
    assert [line["job_id"] for line in place.lines("other.jsonl")] == ["2" * 32]
    assert program.stop() == 0


def test_what_is_probably_a_mistake_is_logged_at_the_start_and_at_a_hang_up(place: Place) -> None:
    place.settings(f'{ALL_TO_FILE}[reconcile]\ndeadlines = {{{{ cover = "1h" }}}}\n')
    program = place.run().ready()
    assert ["'cover'" in line["warning"] for line in program.logs("settings.suspicious")] == [True]

    place.settings(ALL_TO_FILE + TO_OTHER_FILE)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))

    assert "the route 'other' never gets a result" in program.logs("settings.suspicious")[-1]["warning"]
    assert program.stop() == 0


def test_bad_settings_at_a_hang_up_keep_the_old_ones_and_say_why(place: Place) -> None:
    place.settings()
    program = place.run().ready()

    place.settings(NO_MATCH)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("config.reload_failed")))
    place.send("3" * 32)

    wait_until(lambda: len(place.lines()) == 1)
    assert "no-such-handler" in program.logs("config.reload_failed")[0]["error"]
    assert program.stop() == 0


LOG_DEBUG = '[log]\nlevel = "debug"\n'


def test_several_errors_at_a_hang_up_are_separated_by_semicolons(place: Place) -> None:
    place.settings()
    program = place.run().ready()
    place.settings(ALL_TO_FILE + '[retry]\nmax_attempts = 0\nmax_backoff = "5x"\n')
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("config.reload_failed")))

    error = program.logs("config.reload_failed")[0]["error"]
    assert "retry.max_attempts = 0: must be at least 1; " in error
    assert "\n" not in error
    assert program.stop() == 0


def test_a_hang_up_changes_the_log_level(place: Place) -> None:
    place.settings()
    program = place.run().ready()
    place.send("4" * 32)
    wait_until(lambda: len(place.lines()) == 1)
    assert [line for line in program.logs() if line["level"] == "debug"] == []

    place.settings(ALL_TO_FILE + LOG_DEBUG)
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))
    assert program.logs("settings.reloaded")[0]["needs_restart"] == []
    place.send("5" * 32)

    wait_until(lambda: any(line["level"] == "debug" for line in program.logs("delivery.settled")))
    assert program.stop() == 0


def test_a_change_that_needs_a_restart_is_a_warning(place: Place) -> None:
    place.settings()
    program = place.run("-q").ready()
    place.settings(ALL_TO_FILE + "\n[dispatch]\nconcurrency = 3\n")
    program.send(signal.SIGHUP)
    wait_until(lambda: bool(program.logs("settings.reloaded")))

    assert program.logs("settings.reloaded")[0]["needs_restart"] == ["dispatch"]
    assert program.stop() == 0


def is_handled(place: Place, number: int) -> bool:
    return len(place.lines()) + len(place.lines("other.jsonl")) == number


@pytest.mark.parametrize(
    ("before", "after"), [(["-q"], []), ([], ["--log-level", "Warning"]), (["-v"], ["-q"])], ids=str
)
def test_a_level_of_the_command_line_outlasts_a_hang_up(
    place: Place, before: list[str], after: list[str]
) -> None:
    place.settings()
    program = place.start(*before, "run", "-c", str(place.folder / "listener.toml"), *after).ready()
    # The same route, since a delivery of a route that is gone would wait for it.
    place.settings(TO_OTHER_FILE.replace("other", "all", 1) + LOG_DEBUG)
    program.send(signal.SIGHUP)
    # At this level, only the new handler shows that the settings were reloaded.
    for number in itertools.count(1):
        place.send(f"{number:032}")
        wait_until(partial(is_handled, place, number))
        if place.lines("other.jsonl"):
            break

    assert program.stop() == 0
    assert [line for line in program.logs() if line["level"] in ("debug", "info")] == []


def test_the_verbose_option_logs_everything(place: Place) -> None:
    place.settings()
    program = place.run("-v").ready()
    place.send("6" * 32)

    wait_until(lambda: any(line["level"] == "debug" for line in program.logs("delivery.settled")))
    assert program.stop() == 0


WEBHOOKS = 20
RELOADS = 60
WARM_UP = 20
#: A TLS context takes about 0.8 MB and a kept connection one descriptor: without closing and sharing, these reloads
#: would take gigabytes and hundreds of descriptors.
MEMORY_LIMIT = 32 << 20
DESCRIPTOR_LIMIT = 2 * WEBHOOKS


class KeepingReceiver(ThreadingHTTPServer):
    """A receiver of webhooks that keeps connections open, as real ones do."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.received = 0


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KeepingReceiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()
        self.server.received += 1

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def receiver() -> Iterator[KeepingReceiver]:
    with KeepingReceiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def to_webhooks(receiver: KeepingReceiver, version: int) -> str:
    url = f"http://127.0.0.1:{receiver.server_port}/"
    handlers = ", ".join(
        f'{{{{ use = "webhook", name = "w{number}", url = "{url}", headers = {{{{ x = "{version}" }}}} }}}}'
        for number in range(WEBHOOKS)
    )
    return f'[[routes]]\nname = "all"\nhandlers = [{handlers}]\n'


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def reload_webhooks(place: Place, program: Program, receiver: KeepingReceiver, version: int) -> None:
    """Replace all webhooks; use the new ones at every tenth reload."""
    place.settings(to_webhooks(receiver, version))
    program.send(signal.SIGHUP)
    wait_until(lambda: len(program.logs("settings.reloaded")) == version)
    if version % 10 == 0:
        place.send(f"{version:032}")
        wait_until(lambda: receiver.received >= WEBHOOKS * version // 10)


def test_memory_and_descriptors_do_not_grow_with_reloads(place: Place, receiver: KeepingReceiver) -> None:
    place.settings(to_webhooks(receiver, 0))
    program = place.run().ready()
    pid = program.process.pid
    memory, files = 0, 0
    for version in range(1, RELOADS + 1):
        reload_webhooks(place, program, receiver, version)
        if version == WARM_UP:
            memory, files = resident_bytes(pid), descriptors(pid)

    assert receiver.received == WEBHOOKS * RELOADS // 10
    wait_until(lambda: descriptors(pid) <= files + DESCRIPTOR_LIMIT)
    assert resident_bytes(pid) - memory < MEMORY_LIMIT
    assert program.stop() == 0
