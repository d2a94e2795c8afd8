"""When a dead letter was replayed, so that its creation is kept.

Processes of the previous release still work: to them the age of a replayed delivery counts from its creation, and its
next failure may make it a dead letter again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("replayed_at", sa.BigInteger()))
