"""One index of all job ids less: outcomes are found by their slots. A process of the release before finds what it looks
for all the same, only more slowly.

PostgreSQL lets nobody write to a table while an index of it is made; this one is of a few rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    progress = sa.text("job_id != slot AND job_id != ''")
    op.create_index(
        "results_progress", "results", ["job_id"], sqlite_where=progress, postgresql_where=progress
    )
    op.drop_index("results_by_job_id", "results")
