"""On PostgreSQL, the indexes of the names of jobs also find those with the same beginning, as SQLite's do.

They were in the order of the database's locale, in which names with the same beginning need not lie together. They are
replaced, since further ones would have to be written for every submission, and whenever a job ends.

Processes of the previous release still work.

PostgreSQL blocks reads and writes of the jobs and the results while it creates the indexes: seconds for a million jobs.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

UNIQUE = (("jobs", "token"), ("jobs", "job_id"), ("jobs", "reference"), ("results", "dedup_key"))
OF_RESULTS = (
    ("results_by_run_id", "run_id", "run_id != ''"),
    ("results_by_media_id", "media_id", "media_id != ''"),
    ("results_progress", "job_id", "job_id != dedup_key AND job_id != ''"),
)
#: Transactions read the two in either order, and must not wait for each other in a circle. What holds one while it
#: waits for the other lets go of both before the server looks for such a circle, which it does after a second.
LOCK = """
DO $$ BEGIN
    SET LOCAL lock_timeout = '500ms';
    LOOP
        BEGIN
            LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE;
            LOCK TABLE results IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    SET LOCAL lock_timeout TO DEFAULT;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(LOCK)
    for table, column in UNIQUE:
        # By the same name, processes of the previous release tell what exists already.
        name = f"{table}_{column}_key"
        op.drop_constraint(name, table)
        ops = {column: "text_pattern_ops"}
        op.create_index(name, table, [column], unique=True, postgresql_ops=ops)
    for name, column, where in OF_RESULTS:
        ops = {column: "text_pattern_ops"}
        op.drop_index(name, table_name="results")
        op.create_index(name, "results", [column], postgresql_where=sa.text(where), postgresql_ops=ops)
