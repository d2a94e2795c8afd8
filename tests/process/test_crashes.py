"""What becomes of deliveries when processes are killed, and when two of them share one store."""

from __future__ import annotations

import pytest

from listener.emulator import Fault, FaultKind
from tests.support.program import Place, hang_in
from tests.support.waiting import has_line, wait_until

pytestmark = pytest.mark.process

#: Fails loudly when another run of the same delivery is going on: with set -C, the shell opens with O_EXCL.
LOCKING = """\
#!/bin/sh
set -C
lock="{folder}/locks/$MNS_LISTENER_KEY"
if ! : > "$lock"; then
    echo "$MNS_LISTENER_KEY" >> "{folder}/collisions"
    exit 65
fi
echo "$PPID" >> "{folder}/runs"
case "$MNS_LISTENER_JOB_ID" in slow-*) sleep 4 ;; *) sleep 0.05 ;; esac
rm "$lock"
"""
TO_LOCKING = """\
[[routes]]
name = "all"
handlers = [{{ use = "command", argv = ["{folder}/locking.sh"] }}]
"""
SHORT_LEASE = {"dispatch__lease": "2s", "retry__initial_backoff": "0s"}


def let(place: Place, kind: FaultKind, **fields: object) -> None:
    place.server.call(lambda emulator: emulator.faults.add([Fault(kind=kind, **fields)]))  # type: ignore[arg-type]  # any field


def test_killed_within_a_handler_runs_again_with_the_same_key(place: Place) -> None:
    started = hang_in(place)
    program = place.run(**SHORT_LEASE).ready()
    place.send("job-1")
    wait_until(lambda: has_line(started))
    program.kill()
    (place.folder / "hang").unlink()

    assert place.run("--drain", **SHORT_LEASE).wait() == 0
    assert started.read_text().splitlines() == ["job-1:Success:all:python 1", "job-1:Success:all:python 2"]
    assert place.delivery_states() == {"done": 1}


def test_killed_between_record_and_delete_delivers_once(place: Place) -> None:
    place.server.call(lambda emulator: emulator.mns.queues.clear())
    place.create_queue(visibility_timeout=1)
    let(place, FaultKind.STALL, operation="*Delete*")
    place.settings()
    place.send("job-1")
    program = place.run().ready()
    wait_until(lambda: place.happened("stall") >= 1 and place.delivery_states() == {"done": 1})
    program.kill()
    assert place.messages_left() == 1

    place.server.call(lambda emulator: emulator.faults.clear())
    second = place.run().ready()
    wait_until(lambda: place.messages_left() == 0)
    assert second.stop() == 0
    assert [line["attempt"] for line in place.lines()] == [1]
    (stored,) = place.queries(lambda queries: queries.results())
    assert stored.copies >= 2


def test_two_daemons_never_run_one_delivery_at_the_same_time(place: Place) -> None:
    """Handlers that take longer than the lease are safe too: whoever runs them keeps renewing it."""
    (place.folder / "locks").mkdir()
    script = place.folder / "locking.sh"
    script.write_text(LOCKING.format(folder=place.folder))
    script.chmod(0o755)
    place.settings(TO_LOCKING)
    names = [f"{kind}-{number}" for kind, count in (("slow", 4), ("job", 60)) for number in range(count)]
    settings = {"dispatch__concurrency": "4", "dispatch__lease": "3s", "store__shared": "true"}
    daemons = [place.run(**settings).ready() for _ in range(2)]
    wait_until(lambda: place.asked("BatchReceiveMessage") >= 2)
    place.send(*names)
    wait_until(lambda: place.delivery_states() == {"done": len(names)})

    assert [daemon.stop() for daemon in daemons] == [0, 0]
    runs = (place.folder / "runs").read_text().splitlines()
    assert not (place.folder / "collisions").exists()
    assert (len(runs), set(runs)) == (len(names), {str(daemon.process.pid) for daemon in daemons})


def test_nothing_is_lost_when_the_daemon_is_killed_again_and_again(place: Place) -> None:
    place.server.call(lambda emulator: emulator.mns.queues.clear())
    place.create_queue(visibility_timeout=1)
    place.settings()
    names = {f"job-{number}" for number in range(90)}
    for start in range(0, 90, 30):
        program = place.run(**SHORT_LEASE).ready()
        place.send(*sorted(names)[start : start + 30])
        wait_until(lambda: place.asked("BatchReceiveMessage") > 0 and bool(place.lines()))
        program.kill()

    last = place.run(**SHORT_LEASE).ready()
    wait_until(lambda: place.messages_left() == 0 and place.delivery_states() == {"done": 90})
    assert last.stop() == 0
    assert {line["job_id"] for line in place.lines()} == names
