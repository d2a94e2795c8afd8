"""The indexes of the tables. Migrations create them; a test verifies that both are equal.

They are apart from the tables, since SQLAlchemy imports the dialects of both databases for an index with a condition,
and only migrations need to know the indexes. ``info`` names the only dialect that has one of them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, Table, UniqueConstraint, func, text

from listener.store.tables import deliveries, jobs, metadata, results

__all__ = ["metadata"]  #: with the indexes


def _index(table: Table, name: str, *columns: str, where: str = "") -> None:
    condition: dict[str, Any] = {f"{each}_where": text(where) for each in ("sqlite", "postgresql") if where}
    Index(name, *(table.c[column] for column in columns), **condition)


def _index_of_names(table: Table, name: str, column: str, **options: Any) -> None:
    """In the order of code points, so that it also finds those with the same beginning."""
    Index(name, table.c[column], postgresql_ops={column: "text_pattern_ops"}, **options)


def _unique_names(table: Table, *columns: str) -> None:
    """SQLite's constraints are in the order of code points; those of PostgreSQL cannot be."""
    for column in columns:
        table.append_constraint(UniqueConstraint(table.c[column], info={"dialect": "sqlite"}))
        only_here = {"dialect": "postgresql"}
        _index_of_names(table, f"{table.name}_{column}_key", column, unique=True, info=only_here)


def _index_of_some_names(table: Table, name: str, column: str, *, where: str) -> None:
    _index_of_names(table, name, column, sqlite_where=text(where), postgresql_where=text(where))


_unique_names(jobs, "token", "job_id", "reference")
_index(jobs, "jobs_by_state", "state", "id")
Index("jobs_by_function", func.lower(jobs.c.function), jobs.c.id)
_index(jobs, "jobs_by_created_at", "created_at", "id")
_index(jobs, "jobs_overdue", "next_query_at", where="next_query_at IS NOT NULL")

_index(results, "results_by_status", "status", "id")
_index(results, "results_by_job", "job", where="job IS NOT NULL")
_unique_names(results, "dedup_key")
_index_of_some_names(results, "results_by_run_id", "run_id", where="run_id != ''")
_index_of_some_names(results, "results_by_media_id", "media_id", where="media_id != ''")
# The dedup key of an outcome is its job's id, which the unique constraint indexes already.
_index_of_some_names(results, "results_progress", "job_id", where="job_id != dedup_key AND job_id != ''")
_index(results, "results_waiting_by_queue", "queue", "wait_until", where="wait_until IS NOT NULL")

_index(deliveries, "deliveries_by_result", "result")
_index(deliveries, "deliveries_pending", "queue", "next_at", where="state = 'pending'")
_offered = "state = 'pending' AND pull_at IS NOT NULL"
_index(deliveries, "deliveries_offered", "route", "handler", "pull_at", where=_offered)
_index(deliveries, "deliveries_running", "lease_until", where="state = 'running'")
_index(deliveries, "deliveries_dead", "id", where="state = 'dead'")
_index(deliveries, "deliveries_dead_by_route", "route", "id", where="state = 'dead'")
_index(deliveries, "deliveries_without_handler", "route", "handler", where="no_handler_since IS NOT NULL")
