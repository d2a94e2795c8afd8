"""How many files and connections this process may have open, and the programs that it starts."""

from __future__ import annotations

import contextlib
import resource

#: Plenty for the daemon. Not without a limit: some programs that handlers start close every possible descriptor.
ENOUGH = 65_536
#: The soft limit before it was raised, once it was.
_raised_from: list[int] = []


def raise_open_file_limit() -> None:
    """Raise the soft limit, which is often only 1,024, as far as the hard limit and ``ENOUGH`` allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        _raised_from[:] = [soft]


def restore_open_file_limit(process_id: int) -> None:
    """Give a program that was just started the soft limit that this process had; does nothing if it was not raised.

    Not before the program starts: code of ours between fork and exec could block in a process with threads.
    """
    for soft in _raised_from:
        # Ended already, or running as another user (setuid).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _, hard = resource.prlimit(process_id, resource.RLIMIT_NOFILE)
            resource.prlimit(process_id, resource.RLIMIT_NOFILE, (soft, hard))
