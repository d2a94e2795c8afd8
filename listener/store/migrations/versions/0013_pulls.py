"""From when on applications may pull a delivery.

Processes of the previous release still work: they claim no delivery that is offered, and may end the lease of one that
was pulled and has expired.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("pull_at", sa.BigInteger()))
    offered = sa.text("state = 'pending' AND pull_at IS NOT NULL")
    op.create_index(
        "deliveries_offered",
        "deliveries",
        ["route", "handler", "pull_at"],
        sqlite_where=offered,
        postgresql_where=offered,
    )
