"""Since when a delivery has had no handler, its key from before a replay moved it, and the targets of running daemons.

Processes of the previous release still work; they neither note nor end such a wait, and may have any handler.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("no_handler_since", sa.BigInteger()))
    op.add_column("deliveries", sa.Column("first_key", sa.Text()))
    op.add_column("daemons", sa.Column("targets", sa.Text()))
    waiting = sa.text("no_handler_since IS NOT NULL")
    op.create_index(
        "deliveries_without_handler",
        "deliveries",
        ["route", "handler"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
