"""The kind of a job, and where a query says that its outputs are.

Processes of the previous release still work: what they add has no kind, and is asked about as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("kind", sa.Text(), nullable=False, server_default=""))
    op.add_column("results", sa.Column("output", sa.Text(), nullable=False, server_default=""))
