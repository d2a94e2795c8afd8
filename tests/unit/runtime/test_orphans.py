"""Only an init process waits for processes that it did not start."""

from __future__ import annotations

import subprocess

from listener.runtime.orphans import reap_orphans
from tests.support.waiting import is_dead, wait_until


def test_only_an_init_process_reaps() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as child:
        wait_until(lambda: is_dead(child.pid))

        assert reap_orphans() == 0
        assert child.wait(30) == 0
