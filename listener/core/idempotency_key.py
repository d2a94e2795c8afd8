"""The idempotency key of a delivery, by which handlers make an effect happen once."""

from __future__ import annotations


def idempotency_key(result_key: str, state: str, route: str, handler: str) -> str:
    """The same for every attempt at a delivery, and different for every other delivery.

    ``result_key`` is the job id, or run id and phase of a workflow. Handlers have stored these keys: after a change,
    every delivery that is retried or replayed looks new to them.
    """
    return f"{result_key}:{state}:{route}:{handler}"
