"""Names of jobs as people type them: whole, or only their beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.store import job_names
    from listener.store import queries as stored

if TYPE_CHECKING:
    from listener.client import Client
    from listener.core.model import Job


def find_job(client: Client, name: str) -> Job:
    """The job with this name, or the only one whose name begins like this. Raises NotFound and UsageError."""
    return client.store.find_job(name) or client.find(
        job_names.whole_name(stored.Queries(client.store.database), name) or name
    )
