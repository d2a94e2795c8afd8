"""Indexes for lists of jobs by function, or by the time of their creation.

Processes of the previous release still work.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_index("jobs_by_function", "jobs", [sa.text("lower(function)"), "id"])
    op.create_index("jobs_by_created_at", "jobs", ["created_at", "id"])
