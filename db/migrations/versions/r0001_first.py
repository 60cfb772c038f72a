"""The first schema of the ledger.

Surrogate integer ids inside, content keys outside. Task and method configurations are dictionaries, so that a measurement is four narrow
columns. Points of curves have a table of their own: listings of scores never read them. `summary` holds what the leaderboard shows and
changes in the transaction that records an accepted attempt.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The common case first: SQLite builds a table for every evaluation of IN, which tripled the time of an insert.
KIND = """kind TEXT NOT NULL,
        CHECK (CASE WHEN kind = 'finite' THEN value IS NOT NULL ELSE value IS NULL AND kind IN ('nan', '+inf', '-inf') END)"""

TABLES = (
    """CREATE TABLE paper (
        paper {int} PRIMARY KEY, title TEXT NOT NULL, family TEXT NOT NULL, tier TEXT NOT NULL, benchmark TEXT NOT NULL)""",
    """CREATE TABLE task (
        task TEXT PRIMARY KEY, family TEXT NOT NULL, version {int} NOT NULL, label TEXT NOT NULL, doc TEXT NOT NULL,
        params_schema TEXT NOT NULL)""",
    """CREATE TABLE method (
        method TEXT PRIMARY KEY, family TEXT NOT NULL, version {int} NOT NULL, label TEXT NOT NULL, doc TEXT NOT NULL,
        paper {int}, knowledge TEXT NOT NULL, params_schema TEXT NOT NULL)""",
    # A metric that no catalogue declared (declared = 0) still has a row here, so that its measurements can be stored.
    """CREATE TABLE metric (
        id {int} PRIMARY KEY, task TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('lower', 'higher', 'none')), doc TEXT NOT NULL,
        is_primary {int} NOT NULL CHECK (is_primary IN (0, 1)), curve TEXT, declared {int} NOT NULL CHECK (declared IN (0, 1)),
        UNIQUE (task, metric))""",
    """CREATE TABLE claim (
        claim TEXT PRIMARY KEY, paper {int} NOT NULL, family TEXT NOT NULL, statement TEXT NOT NULL, task TEXT NOT NULL,
        metric TEXT NOT NULL, definition TEXT NOT NULL, hash TEXT NOT NULL, since {time} NOT NULL)""",
    """CREATE TABLE claim_revision (
        id {int} PRIMARY KEY, claim TEXT NOT NULL REFERENCES claim (claim), hash TEXT NOT NULL, statement TEXT NOT NULL,
        definition TEXT NOT NULL, since {time} NOT NULL, replaced {time} NOT NULL)""",
    """CREATE TABLE verdict (
        id {int} PRIMARY KEY, claim TEXT NOT NULL REFERENCES claim (claim), claim_hash TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('supported', 'refuted', 'inconclusive', 'not attempted')),
        effect {real}, low {real}, high {real}, n {int} NOT NULL, p_value {real}, test TEXT NOT NULL, detail TEXT NOT NULL,
        trials TEXT NOT NULL, decided {time} NOT NULL)""",
    "CREATE INDEX verdict_claim ON verdict (claim, id)",
    """CREATE TABLE environment (
        id {int} PRIMARY KEY, hash TEXT NOT NULL UNIQUE, content TEXT NOT NULL, python TEXT, torch TEXT, ray TEXT, hostname TEXT,
        os TEXT, cpu TEXT, gpu TEXT, git_commit TEXT, git_dirty {int}, threads {int})""",
    """CREATE TABLE run (
        id {int} PRIMARY KEY, run TEXT NOT NULL UNIQUE, suite TEXT NOT NULL, suite_text TEXT NOT NULL, engine TEXT NOT NULL,
        argv TEXT NOT NULL, planned {int} NOT NULL, started {time} NOT NULL, finished {time},
        status TEXT NOT NULL CHECK (status IN ('running', 'complete', 'incomplete', 'interrupted', 'failed', 'imported')),
        environment_id {int} REFERENCES environment (id))""",
    """CREATE TABLE task_config (
        id {int} PRIMARY KEY, family TEXT NOT NULL, task TEXT NOT NULL, version {int} NOT NULL, params TEXT NOT NULL,
        data_fingerprint TEXT NOT NULL, protocol {int} NOT NULL, UNIQUE (task, version, params, data_fingerprint, protocol, family))""",
    """CREATE TABLE method_config (
        id {int} PRIMARY KEY, method TEXT NOT NULL, version {int} NOT NULL, params TEXT NOT NULL, UNIQUE (method, version, params))""",
    # accepted_id and last_id point to attempts; no foreign key, because it would be circular and cost a look-up per recorded trial:
    # both are written in the transaction that inserts the attempt.
    """CREATE TABLE trial (
        id {int} PRIMARY KEY, key TEXT NOT NULL UNIQUE, task_config_id {int} NOT NULL REFERENCES task_config (id),
        method_config_id {int} NOT NULL REFERENCES method_config (id), seed {int} NOT NULL,
        state TEXT NOT NULL CHECK (state = 'done' OR state IN ('pending', 'leased', 'done', 'failed', 'quarantined')),
        lease_owner TEXT, lease_until {real}, attempts {int} NOT NULL, accepted_id {int}, last_id {int},
        CHECK ((state = 'leased') = (lease_owner IS NOT NULL AND lease_until IS NOT NULL)),
        CHECK ((state = 'done') = (accepted_id IS NOT NULL)))""",
    "CREATE INDEX trial_config ON trial (task_config_id, method_config_id)",
    "CREATE INDEX trial_lease ON trial (lease_owner) WHERE lease_owner IS NOT NULL",
    "CREATE INDEX trial_failed ON trial (task_config_id, method_config_id) WHERE state IN ('failed', 'quarantined')",
    """CREATE TABLE run_trial (
        run_id {int} NOT NULL REFERENCES run (id), trial_id {int} NOT NULL REFERENCES trial (id), PRIMARY KEY (run_id, trial_id)){clustered}""",
    """CREATE TABLE attempt (
        id {int} PRIMARY KEY, key TEXT NOT NULL UNIQUE, trial_id {int} NOT NULL REFERENCES trial (id),
        run_id {int} NOT NULL REFERENCES run (id), number {int} NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome = 'ok' OR outcome IN
            ('ok', 'error', 'timeout', 'oom', 'worker_lost', 'infeasible', 'invalid', 'cancelled')),
        accepted {int} NOT NULL CHECK (accepted IN (0, 1)), started {time} NOT NULL, finished {time} NOT NULL, seconds {real} NOT NULL,
        cpu_seconds {real} NOT NULL, worker TEXT NOT NULL, environment_id {int} REFERENCES environment (id), error TEXT NOT NULL,
        info TEXT NOT NULL, CHECK (accepted = 0 OR outcome = 'ok'))""",
    "CREATE INDEX attempt_trial ON attempt (trial_id)",
    "CREATE INDEX attempt_replicate ON attempt (id) WHERE outcome = 'ok' AND accepted = 0",
    """CREATE TABLE attempt_text (
        attempt_id {int} PRIMARY KEY REFERENCES attempt (id), traceback TEXT NOT NULL, stdout TEXT NOT NULL, stderr TEXT NOT NULL)""",
    # No foreign keys in the two largest tables: their rows are written in the transaction that inserts the attempt, nothing is ever deleted,
    # and the checks would double the time of an import.
    f"""CREATE TABLE measurement (
        attempt_id {{int}} NOT NULL, metric_id {{int}} NOT NULL, value {{real}}, {KIND},
        PRIMARY KEY (attempt_id, metric_id)){{clustered}}""",
    f"""CREATE TABLE curve_point (
        attempt_id {{int}} NOT NULL, metric_id {{int}} NOT NULL, step {{real}} NOT NULL,
        value {{real}}, {KIND}, PRIMARY KEY (attempt_id, metric_id, step)){{clustered}}""",
    # n, mean, m2 (sum of squared deviations), sd, low, high over the finite accepted values; `nonfinite` counts the others.
    # m2 and sd are NULL where they would overflow.
    """CREATE TABLE summary (
        task_config_id {int} NOT NULL REFERENCES task_config (id), method_config_id {int} NOT NULL REFERENCES method_config (id),
        metric_id {int} NOT NULL REFERENCES metric (id), n {int} NOT NULL, nonfinite {int} NOT NULL, mean {real}, m2 {real}, sd {real},
        low {real}, high {real}, PRIMARY KEY (task_config_id, method_config_id, metric_id)){clustered}""",
)

TYPES = {
    "sqlite": {"int": "INTEGER", "real": "REAL", "time": "TEXT", "clustered": " WITHOUT ROWID"},
    "postgresql": {"int": "BIGINT", "real": "DOUBLE PRECISION", "time": "TIMESTAMPTZ", "clustered": ""},
}


def upgrade() -> None:
    types = TYPES[op.get_bind().dialect.name]
    for statement in TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
