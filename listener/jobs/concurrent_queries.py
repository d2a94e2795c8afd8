"""Asks MPS about several things at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def query_concurrently(
    items: Sequence[Item], query: Callable[[Item], Found], *, concurrency: int
) -> Sequence[tuple[Item, Found]]:
    """Call ``query`` for all items with this many threads; raises the first error.

    Uses daemon threads, since the threads of a ThreadPoolExecutor would delay the exit of the process.
    """
    left = iter(items)  # shared by the threads: a list iterator returns each item once
    found: list[tuple[Item, Found]] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            for item in left:
                found.append((item, query(item)))
                if errors:
                    break
        except Exception as error:  # raised below, in the calling thread
            errors.append(error)

    threads = [threading.Thread(target=work, name="query", daemon=True) for _ in items[:concurrency]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
