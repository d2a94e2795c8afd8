"""How many files and connections this process may have open."""

from __future__ import annotations

import resource

#: Plenty for the daemon. Not without a limit: some programs that handlers start close every possible descriptor.
ENOUGH = 65_536


def raise_open_file_limit() -> None:
    """Raise the soft limit, which is often only 1,024, as far as the hard limit and ``ENOUGH`` allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
