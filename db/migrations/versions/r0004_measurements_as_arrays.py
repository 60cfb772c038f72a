"""PostgreSQL keeps the scalar measurements of an attempt as one row of two arrays.

A row per number, with its header and its entry in the index of a million keys, was two thirds of an import; arrays take a sixth of the space
at a hundred metrics and half of it at three. `measurement` stays what it was to every SELECT: a view. SQLite has no arrays and needs none:
its table is clustered by attempt.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = {
    "sqlite": (),
    "postgresql": (
        "ALTER TABLE measurement RENAME TO measurement_0003",
        # `numbers` hold nan and infinities as they are. No foreign keys, as before.
        """CREATE TABLE measurement_array (
        attempt_id BIGINT PRIMARY KEY, metric_ids INTEGER[] NOT NULL, numbers DOUBLE PRECISION[] NOT NULL,
        CHECK (cardinality(metric_ids) = cardinality(numbers)))""",
        """INSERT INTO measurement_array
        SELECT attempt_id, array_agg(metric_id::integer ORDER BY metric_id),
            array_agg(CASE kind WHEN 'finite' THEN value WHEN 'nan' THEN 'nan' WHEN '+inf' THEN 'inf' ELSE '-inf' END ORDER BY metric_id)
        FROM measurement_0003 GROUP BY attempt_id""",
        "DROP TABLE measurement_0003",
        """CREATE VIEW measurement AS
        SELECT a.attempt_id, x.metric_id, CASE WHEN x.number > '-inf' AND x.number < 'inf' THEN x.number END AS value,
            CASE WHEN x.number > '-inf' AND x.number < 'inf' THEN 'finite' WHEN x.number = 'nan' THEN 'nan'
                WHEN x.number > 0 THEN '+inf' ELSE '-inf' END AS kind
        FROM measurement_array a, unnest(a.metric_ids, a.numbers) AS x (metric_id, number)""",
    ),
}


def upgrade() -> None:
    for statement in STATEMENTS[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement)
