"""One daemon at a time uses a SQLite file; the kernel gives its lock back, however the daemon ends."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from listener.core.errors import SettingsError, StoreInUse, StoreUnavailable
from listener.store.daemon_lock import DaemonLock
from tests.support.forked import forking_context
from tests.support.waiting import wait_until


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/listener.db"


def hold(url: str, connection: Any) -> None:
    """What another process does: take the lock, say so, and keep it until the other end is closed."""
    lock = DaemonLock.acquire(url)
    connection.send(lock is not None)
    connection.poll(None)


def hold_and_fork(url: str, connection: Any) -> None:
    """The same with a child, as handlers may have; the child outlives it, until the other end is closed."""
    lock = DaemonLock.acquire(url)
    if os.fork():
        connection.send(lock is not None)
    connection.poll(None)


@contextmanager
def held(url: str, *, by: Callable[[str, Any], None] = hold) -> Iterator[int]:
    """Held by another process, whose id this yields."""
    context = forking_context()
    ours, theirs = context.Pipe()
    process = context.Process(target=by, args=(url, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.recv()
        yield process.pid or 0
    finally:
        ours.close()
        process.kill()
        process.join()


def acquired(url: str) -> DaemonLock:
    lock = DaemonLock.acquire(url)
    assert lock
    return lock


def test_a_second_one_is_refused_with_the_process_that_has_it(url: str) -> None:
    with (
        held(url) as pid,
        pytest.raises(StoreInUse, match=rf"listener\.db: .*\(process {pid} on .+\)") as error,
    ):
        DaemonLock.acquire(url)

    assert error.value.exit_code == 69
    assert "store.shared = true" in str(error.value)


def test_another_name_of_the_same_file_is_refused_too(url: str, tmp_path: Path) -> None:
    (tmp_path / "listener.db").touch()
    (tmp_path / "link.db").symlink_to("listener.db")
    with held(url), pytest.raises(StoreInUse):
        DaemonLock.acquire(f"sqlite:///{tmp_path}/link.db")


def test_it_is_free_after_kill_9(url: str, tmp_path: Path) -> None:
    with held(url) as pid:
        os.kill(pid, signal.SIGKILL)
    assert (tmp_path / "listener.db.lock").exists()

    acquired(url).release()


def test_it_is_free_after_a_release_and_leaves_no_file(url: str, tmp_path: Path) -> None:
    lock = acquired(url)
    lock.release()
    lock.release()

    assert list(tmp_path.iterdir()) == []
    acquired(url).release()


def test_a_process_that_was_forked_meanwhile_does_not_keep_it(url: str) -> None:
    with held(url, by=hold_and_fork) as pid:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid))
        acquired(url).release()  # while the child waits for its end


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def removed_before_it_is_locked(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append((tmp_path / "listener.db.lock").unlink())
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_before_it_is_locked)
    lock = acquired(url)

    with pytest.raises(StoreInUse):
        DaemonLock.acquire(url)
    lock.release()


def no_locks(_descriptor: int, _operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def no_space(*_arguments: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("module", "name", "fault", "kind"),
    [
        pytest.param(fcntl, "flock", no_locks, "read-only", id="no-locks"),
        pytest.param(os, "open", no_space, "disk-full", id="no-space"),
    ],
)
def test_a_file_that_cannot_be_locked_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, fault: Callable[..., Any], kind: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, name, fault)
        with pytest.raises(
            StoreUnavailable, match=r"cannot lock .*listener\.db\.lock: .*; (check|free) "
        ) as error:
            DaemonLock.acquire(url)

    assert error.value.kind == kind


def test_a_disk_without_room_for_the_name_of_the_process_is_no_obstacle(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", no_space)
        lock = acquired(url)

    with pytest.raises(StoreInUse, match="another daemon is running on it; stop"):
        DaemonLock.acquire(url)
    lock.release()


def test_postgresql_needs_none() -> None:
    assert DaemonLock.acquire("postgresql://db.internal/listener") is None


def test_a_folder_that_does_not_exist_is_a_matter_of_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"the folder .* does not exist"):
        DaemonLock.acquire(f"sqlite:///{tmp_path}/missing/listener.db")
