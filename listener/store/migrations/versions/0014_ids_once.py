"""On SQLite, no id of a deleted row is assigned again: whoever names it later cannot mean another row.

AUTOINCREMENT changes neither the rows nor the indexes, only the text that declares a table, and needs the greatest id
so far of each table. So the text is edited (https://www.sqlite.org/lang_altertable.html#otheralter), which takes the
same time for a store of any size, and no disk space; a table that was declared in other words stays as it is. The
sequences of PostgreSQL never go back.

Processes of the previous release still work.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

TABLES = ("jobs", "results", "deliveries", "attempts", "changes", "quarantine")


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _declare(connection)
        _begin_after_the_greatest(connection)


def _declare(connection: sa.Connection) -> None:
    op.execute("CREATE TABLE first_sequence (id INTEGER PRIMARY KEY AUTOINCREMENT)")  # makes sqlite_sequence
    op.execute("DROP TABLE first_sequence")
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        for table in TABLES:
            connection.exec_driver_sql(
                "UPDATE sqlite_master SET sql = replace(sql, 'PRIMARY KEY (id)', 'PRIMARY KEY (id AUTOINCREMENT)') "
                "WHERE type = 'table' AND name = ?",
                (table,),
            )
        connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")  # others read the schema again
    finally:
        connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def _begin_after_the_greatest(connection: sa.Connection) -> None:
    sequence = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
    for name in TABLES:
        table = sa.table(name, sa.column("id"))
        greatest = sa.select(sa.literal(name), sa.func.coalesce(sa.func.max(table.c.id), 0))
        connection.execute(sequence.insert().from_select(["name", "seq"], greatest))
