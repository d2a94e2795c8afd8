"""The trace that a job was submitted in. Processes of the previous release still work: their jobs have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("trace", sa.Text(), nullable=False, server_default=""))
