"""The states that jobs and activities of workflows may have, in whatever way they are written."""

from __future__ import annotations

from typing import Final

from listener.core.errors import Undecodable
from listener.core.model import CANCELLED, FAIL, LOST, PROGRESS_STATES, SUCCESS

_STATES: Final = {state.lower(): state for state in (LOST, *PROGRESS_STATES)} | {
    "success": SUCCESS,
    "transcodesuccess": SUCCESS,
    "completed": SUCCESS,
    "finished": SUCCESS,
    "fail": FAIL,
    "failed": FAIL,
    "transcodefail": FAIL,
    "cancelled": CANCELLED,
    "canceled": CANCELLED,
    "transcodecancelled": CANCELLED,
    "transcodecanceled": CANCELLED,
}
#: The states that the listener knows, under the names by which it records them.
KNOWN_STATES: Final = (SUCCESS, FAIL, CANCELLED, LOST, *sorted(PROGRESS_STATES))
SKIPPED: Final = "Skipped"
#: Those that an activity of a workflow may have.
ACTIVITY_STATES: Final = (*(state for state in KNOWN_STATES if state != LOST), SKIPPED)


def known_state(text: str) -> str | None:
    """The name under which this state is recorded, in whatever way it is written; None if it is unknown."""
    return _STATES.get(text.strip().lower())


def known_activity_state(text: str) -> str | None:
    """The same for the state of an activity."""
    known = SKIPPED if text.strip().lower() == SKIPPED.lower() else known_state(text)
    return None if known == LOST else known


def reported_state(text: str) -> str:
    """The state in a message: normalised if its meaning is known, else verbatim. Raises Undecodable for ``Lost``."""
    known = known_state(text)
    if known == LOST:
        raise Undecodable(
            "the state Lost is never reported by MPS; only the listener itself declares a job lost"
        )
    return known or text
