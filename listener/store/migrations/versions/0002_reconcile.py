"""Deadlines and tenants of jobs, and the outputs that a query returned.

New columns have defaults in the database, so that processes of the previous release can go on inserting rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("tenant", sa.Text(), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("deadline_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("next_query_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("queries", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(
        "jobs_overdue",
        "jobs",
        ["next_query_at"],
        sqlite_where=sa.text("next_query_at IS NOT NULL"),
        postgresql_where=sa.text("next_query_at IS NOT NULL"),
    )
    op.add_column("results", sa.Column("outputs", sa.Text(), nullable=True))
