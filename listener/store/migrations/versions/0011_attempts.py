"""Attempts at deliveries that did not go well at once, and the log of changes that the event feed reads.

Processes of the previous release still work: what they settle and record is in neither table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("delivery", ROW_ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("seconds", sa.Double()),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("delivery", "attempt", name="attempts_of_delivery"),
    )
    op.create_table(
        "changes",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("row_ids", sa.Text(), nullable=False),
    )
