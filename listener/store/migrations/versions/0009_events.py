"""Events of IMS and VOD: which medium each is about, and what identifies it.

Processes of the previous release still work: they quarantine events. If they handle an event that one of this release
recorded, its key is made from its job alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("results", sa.Column("media_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("results", sa.Column("event", sa.Text(), nullable=False, server_default=""))
    about_media = sa.text("media_id != ''")
    op.create_index(
        "results_by_media_id",
        "results",
        ["media_id"],
        sqlite_where=about_media,
        postgresql_where=about_media,
    )
