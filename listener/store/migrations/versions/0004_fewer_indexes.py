"""One index of all job ids less: outcomes are found by their deduplication keys.

A process of the release before finds what it looks for all the same, only more slowly.

PostgreSQL lets nobody read or write the results while this reads through them: seconds for a million rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # First what wants the strongest lock: to ask for more of a lock that others hold too is to wait in a circle.
    op.drop_index("results_by_job_id", "results")
    progress = sa.text("job_id != dedup_key AND job_id != ''")
    op.create_index(
        "results_progress", "results", ["job_id"], sqlite_where=progress, postgresql_where=progress
    )
