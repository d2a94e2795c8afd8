"""Indexes for listings and for retention. Processes of the previous release are not affected.

PostgreSQL blocks writes to a table while it creates an index: seconds for a million rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("results_by_status", "results", ["status", "id"])
    _create_partial("results_by_job", "results", ["job"], "job IS NOT NULL")
    _create_partial("results_by_run_id", "results", ["run_id"], "run_id != ''")
    _create_partial("deliveries_dead_by_route", "deliveries", ["route", "id"], "state = 'dead'")


def _create_partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
