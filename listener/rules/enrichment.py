"""Of which results MPS is asked for the outputs before their handlers are called; ``dispatch/enricher.py`` asks."""

from __future__ import annotations

from typing import Final

from listener.core.job_kinds import JobKind
from listener.core.model import FAIL, SUCCESS, Job, Result
from listener.rules.job_facts import kind_of

#: States of which the outputs, or the reasons, are fetched.
ENRICHED_STATES: Final = frozenset({SUCCESS, FAIL})


def kind_to_ask(result: Result, job: Job | None) -> JobKind | None:
    """The kind of job to ask about; None if there is nothing to fetch."""
    return None if _without_query(result) else kind_of(result, job)


def exemption(result: Result, job: Job | None) -> str:
    """Why MPS is not asked; empty if it is."""
    if without := _without_query(result):
        return without
    return "" if kind_of(result, job) else "MPS has no query for this kind of job"


def _without_query(result: Result) -> str:
    """Why there is nothing to ask about this result, whatever its job is; empty if there may be."""
    if result.state not in ENRICHED_STATES:
        return "only results in the state Success or Fail have outputs"
    if not result.job_id:  # the report of a workflow is complete
        return "it is not about a single job"
    if result.outputs is not None:
        return "MPS has reported them already"
    return ""
