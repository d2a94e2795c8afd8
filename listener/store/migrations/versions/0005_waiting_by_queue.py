"""Waiting results are found by their queue, so that queues can be served in turn.

Processes of the previous release still work, only more slowly.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # The statement that needs the strongest lock comes first: upgrading a lock that others share can deadlock.
    op.drop_index("results_waiting", "results")
    waiting = sa.text("wait_until IS NOT NULL")
    op.create_index(
        "results_waiting_by_queue",
        "results",
        ["queue", "wait_until"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
