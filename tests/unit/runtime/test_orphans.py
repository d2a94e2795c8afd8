"""Only an init process waits for processes that it did not start."""

from __future__ import annotations

import subprocess

from listener.runtime.orphans import reap_orphans


def test_only_the_first_process_reaps_orphans() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as child:
        assert reap_orphans() == 0
        assert child.wait(30) == 0
