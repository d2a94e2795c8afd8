"""Alembic's entry: runs on the connection that listener.store.schema hands over."""

from __future__ import annotations

from alembic import context

from listener.store.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction holds the whole upgrade
)
context.run_migrations()
