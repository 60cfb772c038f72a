"""Totals of the leaderboard without foreign keys.

Their rows are written in the transaction that makes what they point to, and nothing is ever deleted, as in `measurement`: the three checks
per row were a third of an import into PostgreSQL and half of recording a hundred metrics there.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEYS = ("task_config_id", "method_config_id", "metric_id")
STATEMENTS = {
    "postgresql": (f"ALTER TABLE summary {', '.join(f'DROP CONSTRAINT summary_{key}_fkey' for key in KEYS)}",),
    "sqlite": (  # which can't drop a constraint
        "ALTER TABLE summary RENAME TO summary_0002",
        """CREATE TABLE summary (
        task_config_id INTEGER NOT NULL, method_config_id INTEGER NOT NULL, metric_id INTEGER NOT NULL, n INTEGER NOT NULL,
        nonfinite INTEGER NOT NULL, mean REAL, m2 REAL, sd REAL, low REAL, high REAL,
        PRIMARY KEY (task_config_id, method_config_id, metric_id)) WITHOUT ROWID""",
        "INSERT INTO summary SELECT * FROM summary_0002",
        "DROP TABLE summary_0002",
    ),
}


def upgrade() -> None:
    for statement in STATEMENTS[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement)
