"""One thread at a time holds the lock, and none while it waits."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import pytest

from listener.core import compute_lock


def is_free() -> bool:
    """Whether another thread gets the lock now."""
    free: list[bool] = []

    def look() -> None:
        free.append(compute_lock._lock.acquire(blocking=False))
        if free[0]:
            compute_lock._lock.release()

    other = threading.Thread(target=look)
    other.start()
    other.join()
    return free[0]


def test_it_is_held_once_however_often_a_thread_asks() -> None:
    with compute_lock.held():
        with compute_lock.held():
            assert not is_free()
        assert not is_free()
    assert is_free()


def test_it_is_free_while_its_holder_waits_and_held_again_afterwards() -> None:
    with compute_lock.held():
        with compute_lock.released():
            with compute_lock.released():
                assert is_free()
            assert is_free()
        assert not is_free()


def test_who_does_not_hold_it_has_nothing_to_release() -> None:
    with compute_lock.released():
        assert is_free()
    assert is_free()


def test_it_can_be_held_while_its_former_holder_waits() -> None:
    with compute_lock.held(), compute_lock.released(), compute_lock.held():
        assert not is_free()
    assert is_free()


@pytest.mark.parametrize("inner", [nullcontext(), compute_lock.held(), compute_lock.released()])
def test_an_error_leaves_it_as_it_was(inner: AbstractContextManager[None]) -> None:
    with pytest.raises(ZeroDivisionError), compute_lock.held(), inner:
        raise ZeroDivisionError
    assert is_free()


def test_threads_take_turns() -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with compute_lock.held():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (most, inside, is_free()) == (1, 0, True)
