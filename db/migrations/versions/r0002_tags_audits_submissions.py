"""Tags of runs, audits of reproducibility, submissions to guarded boards, blocks of interleaved attempts, bounds of metrics."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE attempt ADD COLUMN block {int}",
    "ALTER TABLE metric ADD COLUMN low {real}",
    "ALTER TABLE metric ADD COLUMN high {real}",
    """CREATE TABLE run_tag (
        run_id {int} NOT NULL REFERENCES run (id), tag TEXT NOT NULL, PRIMARY KEY (run_id, tag)){clustered}""",
    "CREATE INDEX run_tag_tag ON run_tag (tag)",
    # One audit per repetition: its attempt says which trial, run and environment.
    """CREATE TABLE audit (
        attempt_id {int} PRIMARY KEY REFERENCES attempt (id),
        condition TEXT NOT NULL CHECK (condition IN ('same worker', 'other worker', 'other threads')),
        verdict TEXT NOT NULL CHECK (verdict IN ('bitwise', 'within tolerance', 'different')),
        tolerance {real} NOT NULL, deviation {real}, metric TEXT, at {time} NOT NULL)""",
    """CREATE TABLE submission (
        id {int} PRIMARY KEY, submission TEXT NOT NULL UNIQUE, board TEXT NOT NULL, number {int} NOT NULL, submitter TEXT NOT NULL,
        method TEXT, note TEXT NOT NULL, mechanism TEXT NOT NULL, displayed {real}, released {int} NOT NULL CHECK (released IN (0, 1)),
        threshold {real}, budget_left {real}, at {time} NOT NULL)""",
    "CREATE INDEX submission_board ON submission (board, number)",
)

TYPES = {
    "sqlite": {"int": "INTEGER", "real": "REAL", "time": "TEXT", "clustered": " WITHOUT ROWID"},
    "postgresql": {"int": "BIGINT", "real": "DOUBLE PRECISION", "time": "TIMESTAMPTZ", "clustered": ""},
}


def upgrade() -> None:
    types = TYPES[op.get_bind().dialect.name]
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.format(**types))
