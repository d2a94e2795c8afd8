"""What systemd receives: readiness, and watchdog messages only while every loop makes progress."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from listener.runtime.liveness import LivenessMonitor
from listener.runtime.systemd import Watchdog, notify, watchdog_interval
from tests.support.clocks import FrozenClock, freeze_time

MINUTE = timedelta(minutes=1)


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with freeze_time() as frozen:
        yield frozen


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket at which systemd would listen."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listening


def heard(supervisor: socket.socket) -> list[str]:
    """All lines that were sent so far."""
    lines: list[str] = []
    while True:
        try:
            lines += supervisor.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines


class TestNotify:
    def test_lines_reach_the_supervisor(self, supervisor: socket.socket) -> None:
        notify("READY=1", "STATUS=polling")

        assert heard(supervisor) == ["READY=1", "STATUS=polling"]

    def test_a_supervisor_that_does_not_read_holds_nothing_up(
        self, supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("listener.runtime.systemd.NOTIFY_TIMEOUT", timedelta(milliseconds=1))
        with capture_logs() as logs:
            while not logs:  # until the socket is full
                notify("WATCHDOG=1")

        assert [(entry["event"], entry["error"]) for entry in logs] == [
            ("systemd.notify_failed", "timed out")
        ]
        assert "WATCHDOG=1" in heard(supervisor)

    def test_an_abstract_socket_is_understood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = f"mns-listener-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(f"\0{name}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
            notify("READY=1")

            assert listening.recv(100) == b"READY=1"

    def test_without_a_supervisor_nothing_is_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        with capture_logs() as logs:
            notify("READY=1")

        assert logs == []

    def test_a_supervisor_that_is_gone_does_not_stop_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
        with capture_logs() as logs:
            notify("WATCHDOG=1")

        assert [entry["event"] for entry in logs] == ["systemd.notify_failed"]


class TestWatchdogInterval:
    @pytest.mark.parametrize(
        ("usec", "pid", "interval"),
        [
            pytest.param("30000000", "", timedelta(seconds=15), id="for-everybody"),
            pytest.param("30000000", str(os.getpid()), timedelta(seconds=15), id="for-us"),
            pytest.param("30000000", "1", None, id="for-another-process"),
            pytest.param("", "", None, id="not-watched"),
            pytest.param("soon", "", None, id="no-number"),
            pytest.param("0", "", None, id="nought"),
        ],
    )
    def test_half_of_what_systemd_allows(
        self, monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, interval: timedelta | None
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
        monkeypatch.setenv("WATCHDOG_PID", pid)

        assert watchdog_interval() == interval


class TestWatchdog:
    @pytest.fixture(autouse=True)
    def _watched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)

    def test_ready_is_sent_once_and_only_when_every_loop_has_run(self, supervisor: socket.socket) -> None:
        liveness = LivenessMonitor()
        heartbeat = liveness.heartbeat("poll", limit=MINUTE)
        watchdog = Watchdog(liveness)
        watchdog.feed()
        assert "READY=1" not in heard(supervisor)

        heartbeat.beat()
        watchdog.feed()
        watchdog.feed()
        assert heard(supervisor).count("READY=1") == 1

    def test_the_watchdog_starves_while_a_loop_is_stalled(
        self, supervisor: socket.socket, time: FrozenClock
    ) -> None:
        liveness = LivenessMonitor()
        heartbeat = liveness.heartbeat("poll", limit=MINUTE)
        watchdog = Watchdog(liveness)
        heartbeat.beat()
        watchdog.feed()
        assert "WATCHDOG=1" in heard(supervisor)

        time.tick(MINUTE * 2)
        with capture_logs() as logs:
            watchdog.feed()
        assert heard(supervisor) == []
        assert [(entry["event"], entry["loops"]) for entry in logs] == [("loops.stalled", ["poll"])]

        heartbeat.beat()
        watchdog.feed()
        assert heard(supervisor) == ["WATCHDOG=1"]

    def test_the_main_thread_never_waits_longer_than_the_watchdog_allows(
        self, supervisor: socket.socket
    ) -> None:
        liveness = LivenessMonitor()
        watchdog = Watchdog(liveness)
        liveness.heartbeat("poll", limit=MINUTE).beat()
        assert watchdog.tick(MINUTE) < timedelta(seconds=10)  # looks often until it is ready

        watchdog.feed()
        assert watchdog.tick(MINUTE) == timedelta(seconds=10)
        assert watchdog.tick(timedelta(seconds=3)) == timedelta(seconds=3)
