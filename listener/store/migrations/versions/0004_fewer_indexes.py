"""Drops the index of all job ids: outcomes are found by their deduplication keys.

Processes of the previous release still work, only more slowly.

PostgreSQL blocks reads and writes of the results while it creates the index: seconds for a million rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The statement that needs the strongest lock comes first: upgrading a lock that others share can deadlock.
    op.drop_index("results_by_job_id", "results")
    progress = sa.text("job_id != dedup_key AND job_id != ''")
    op.create_index(
        "results_progress", "results", ["job_id"], sqlite_where=progress, postgresql_where=progress
    )
