"""For which tenants a daemon submits jobs, so that others know whether anything waits for nothing.

Processes of the previous release still work: they do not report it, and may submit the jobs of every tenant.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("daemons", sa.Column("tenants", sa.Text()))
