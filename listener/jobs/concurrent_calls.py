"""Several calls at the same time, such as those of one turn to MPS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def call_concurrently(
    items: Sequence[Item], function: Callable[[Item], Found], *, concurrency: int
) -> Sequence[tuple[Item, Found]]:
    """Call ``function`` for all items with this many threads; raises the first error.

    Uses daemon threads, since the threads of a ThreadPoolExecutor would delay the exit of the process.
    """
    left = iter(items)  # shared by the threads: a list iterator returns each item once
    found: list[tuple[Item, Found]] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            for item in left:
                found.append((item, function(item)))
                if errors:
                    break
        except Exception as error:  # raised below, in the calling thread
            errors.append(error)

    threads = [threading.Thread(target=work, name="call", daemon=True) for _ in items[:concurrency]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
