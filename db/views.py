"""The public SQL surface: every view, each with its documentation as data. Base tables are private and may change between revisions.

JSON columns hold canonical JSON text (sorted keys, no spaces), so they can be grouped by. Times are ISO-8601 UTC text in SQLite and
timestamptz in PostgreSQL. Flags are 0 or 1 on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "integer", "real", "time", "json", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a public view."""

    type: Type
    doc: str


@dataclass(frozen=True, slots=True)
class View:
    """One public view: what a row is, its columns in order, and the SELECT (the same on both databases)."""

    doc: str
    columns: Mapping[str, Column]
    sql: str


TRIAL = Column("text", "Content key of the trial: sha256 over task, method, resolved parameters, seed, data fingerprint and protocol.")
FAMILY = Column("text", "Family of the task, such as quantization.")
TASK = Column("text", "Task id, family/name.")
TASK_VERSION = Column("integer", "Version of the task's code; raised when results change.")
TASK_PARAMS = Column("json", "Resolved parameters of the task.")
METHOD = Column("text", "Method id, family/name.")
METHOD_VERSION = Column("integer", "Version of the method's code; raised when results change.")
METHOD_PARAMS = Column("json", "Resolved parameters of the method.")
SEED = Column("integer", "Seed that all random streams of the trial derive from.")
FINGERPRINT = Column("text", "Digest of the data that the task reads; rows with different fingerprints are not comparable.")
PROTOCOL = Column("integer", "Version of the rules that every evaluation shares; rows with different protocols are not comparable.")
METRIC = Column("text", "Metric id, unique in its task.")
UNIT = Column("text", "Unit of the metric.")
DIRECTION = Column("text", "lower, higher or none: which values are better.")
IS_PRIMARY = Column("flag", "1 for the metric that a leaderboard of the task ranks by.")
VALUE = Column("real", "The number measured; NULL unless it is finite (see kind).")
KIND = Column("text", "finite, nan, +inf or -inf.")
ATTEMPT = Column("text", "Id of the attempt.")
RUN = Column("text", "Id of the run (one invocation of `assay run`).")
ENVIRONMENT = Column("text", "Hash of the environment; joins with environments.environment.")
PAPER = Column("integer", "Number of the paper in shared/papers.")
CLAIM = Column("text", "Id of the claim.")

_CONFIG = {
    "trial": TRIAL,
    "family": FAMILY,
    "task": TASK,
    "task_version": TASK_VERSION,
    "task_params": TASK_PARAMS,
    "method": METHOD,
    "method_version": METHOD_VERSION,
    "method_params": METHOD_PARAMS,
    "seed": SEED,
}
_CONFIG_SQL = """t.key AS trial, tc.family AS family, tc.task AS task, tc.version AS task_version, tc.params AS task_params,
    mc.method AS method, mc.version AS method_version, mc.params AS method_params, t.seed AS seed"""
_CONFIG_JOIN = "JOIN task_config tc ON tc.id = t.task_config_id JOIN method_config mc ON mc.id = t.method_config_id"

VIEWS: dict[str, View] = {
    "trials": View(
        "One row per trial that was ever submitted, with its state and how it ended.",
        {
            **_CONFIG,
            "data_fingerprint": FINGERPRINT,
            "protocol": PROTOCOL,
            "state": Column("text", "pending, leased (a coordinator holds it), done (has an accepted result), failed or quarantined."),
            "outcome": Column(
                "text",
                "How the accepted attempt ended, else the last attempt: ok, error, timeout, oom, worker_lost, infeasible, invalid, "
                "cancelled; NULL before the first.",
            ),
            "attempts": Column("integer", "How many attempts the ledger holds."),
            "attempt": Column("text", "Id of the accepted attempt; NULL when there is none."),
            "seconds": Column("real", "Wall time in seconds of the accepted attempt, else of the last one."),
            "error": Column("text", "The last attempt's error as one sentence; empty when it had none, NULL before the first attempt."),
            "finished": Column("time", "When the accepted attempt ended, else the last one."),
        },
        f"""SELECT {_CONFIG_SQL}, tc.data_fingerprint AS data_fingerprint, tc.protocol AS protocol, t.state AS state,
            coalesce(a.outcome, l.outcome) AS outcome, t.attempts AS attempts, a.key AS attempt,
            coalesce(a.seconds, l.seconds) AS seconds, l.error AS error, coalesce(a.finished, l.finished) AS finished
        FROM trial t {_CONFIG_JOIN}
        LEFT JOIN attempt a ON a.id = t.accepted_id LEFT JOIN attempt l ON l.id = t.last_id""",
    ),
    "scores": View(
        "One row per scalar measurement of an accepted attempt.",
        {
            **_CONFIG,
            "metric": METRIC,
            "unit": UNIT,
            "direction": DIRECTION,
            "is_primary": IS_PRIMARY,
            "value": VALUE,
            "kind": KIND,
            "attempt": ATTEMPT,
            "data_fingerprint": FINGERPRINT,
            "protocol": PROTOCOL,
        },
        f"""SELECT {_CONFIG_SQL}, m.metric AS metric, m.unit AS unit, m.direction AS direction, m.is_primary AS is_primary,
            x.value AS value, x.kind AS kind, a.key AS attempt, tc.data_fingerprint AS data_fingerprint, tc.protocol AS protocol
        FROM trial t {_CONFIG_JOIN}
        JOIN attempt a ON a.id = t.accepted_id JOIN measurement x ON x.attempt_id = t.accepted_id JOIN metric m ON m.id = x.metric_id""",
    ),
    "curves": View(
        "One row per point of a series that an accepted attempt measured.",
        {
            **_CONFIG,
            "metric": METRIC,
            "step": Column("real", "Position on the metric's x axis (metrics.curve names it)."),
            "value": VALUE,
            "kind": KIND,
            "attempt": ATTEMPT,
        },
        f"""SELECT {_CONFIG_SQL}, m.metric AS metric, x.step AS step, x.value AS value, x.kind AS kind, a.key AS attempt
        FROM trial t {_CONFIG_JOIN}
        JOIN attempt a ON a.id = t.accepted_id JOIN curve_point x ON x.attempt_id = t.accepted_id JOIN metric m ON m.id = x.metric_id""",
    ),
    "attempts": View(
        "One row per execution of a trial; append-only.",
        {
            "attempt": ATTEMPT,
            "trial": TRIAL,
            "run": RUN,
            "number": Column("integer", "1 for the trial's first recorded attempt, then 2, 3, …"),
            "outcome": Column("text", "ok, error, timeout, oom, worker_lost, infeasible, invalid or cancelled."),
            "accepted": Column("flag", "1 for the attempt whose measurements are the trial's result: its first ok attempt."),
            "started": Column("time", "When it started, by the worker's clock."),
            "finished": Column("time", "When it ended, by the worker's clock."),
            "seconds": Column("real", "Wall time in seconds; the time of a group of seeds is divided evenly among them."),
            "cpu_seconds": Column("real", "CPU time in seconds."),
            "worker": Column("text", "Name of the worker process."),
            "environment": ENVIRONMENT,
            "error": Column("text", "One sentence; empty when there was no error."),
            "traceback": Column("text", "Python traceback; empty when there was none."),
            "stdout": Column("text", "Tail of what the attempt printed."),
            "stderr": Column("text", "Tail of what the attempt wrote to standard error."),
            "info": Column("json", "Notes of the task for people."),
        },
        """SELECT a.key AS attempt, t.key AS trial, r.run AS run, a.number AS number, a.outcome AS outcome, a.accepted AS accepted,
            a.started AS started, a.finished AS finished, a.seconds AS seconds, a.cpu_seconds AS cpu_seconds, a.worker AS worker,
            e.hash AS environment, a.error AS error, coalesce(x.traceback, '') AS traceback, coalesce(x.stdout, '') AS stdout,
            coalesce(x.stderr, '') AS stderr, a.info AS info
        FROM attempt a JOIN trial t ON t.id = a.trial_id JOIN run r ON r.id = a.run_id
        LEFT JOIN environment e ON e.id = a.environment_id LEFT JOIN attempt_text x ON x.attempt_id = a.id""",
    ),
    "replicates": View(
        "Scalar measurements of ok attempts that are not the accepted one, beside the accepted value: the raw material of reproducibility.",
        {
            "trial": TRIAL,
            "attempt": ATTEMPT,
            "metric": METRIC,
            "value": VALUE,
            "kind": KIND,
            "accepted_value": Column("real", "The accepted attempt's number; NULL unless it is finite."),
            "accepted_kind": Column("text", "finite, nan, +inf or -inf; NULL when the accepted attempt lacks the metric."),
        },
        """SELECT t.key AS trial, a.key AS attempt, m.metric AS metric, x.value AS value, x.kind AS kind, y.value AS accepted_value,
            y.kind AS accepted_kind
        FROM attempt a JOIN trial t ON t.id = a.trial_id JOIN measurement x ON x.attempt_id = a.id JOIN metric m ON m.id = x.metric_id
        LEFT JOIN measurement y ON y.attempt_id = t.accepted_id AND y.metric_id = x.metric_id
        WHERE a.outcome = 'ok' AND a.accepted = 0""",
    ),
    "environments": View(
        "Where attempts ran, one row per distinct content.",
        {
            "environment": Column("text", "Hash: sha256 of the canonical JSON of the content."),
            "content": Column("json", "Everything recorded about the machine, the packages and the code."),
            "python": Column("text", "Python version."),
            "torch": Column("text", "torch version."),
            "ray": Column("text", "Ray version."),
            "hostname": Column("text", "Host name."),
            "os": Column("text", "Operating system."),
            "cpu": Column("text", "CPU model."),
            "gpu": Column("text", "GPU model and driver; NULL without one."),
            "git_commit": Column("text", "Commit of the code that ran."),
            "git_dirty": Column("flag", "1 when the work tree had uncommitted changes."),
            "threads": Column("integer", "Numeric threads per worker."),
        },
        """SELECT e.hash AS environment, e.content AS content, e.python AS python, e.torch AS torch, e.ray AS ray, e.hostname AS hostname,
            e.os AS os, e.cpu AS cpu, e.gpu AS gpu, e.git_commit AS git_commit, e.git_dirty AS git_dirty, e.threads AS threads
        FROM environment e""",
    ),
    "leaderboard": View(
        "Accepted scores over seeds: one row per task configuration, method configuration and scalar metric. A method without any accepted "
        "result has rows too (n = 0), so that failures show.",
        {
            "family": FAMILY,
            "task": TASK,
            "task_version": TASK_VERSION,
            "task_params": TASK_PARAMS,
            "method": METHOD,
            "method_version": METHOD_VERSION,
            "method_params": METHOD_PARAMS,
            "metric": METRIC,
            "unit": UNIT,
            "direction": DIRECTION,
            "is_primary": IS_PRIMARY,
            "n": Column("integer", "How many accepted finite values."),
            "mean": Column("real", "Mean of the finite values; NULL when n = 0."),
            "sd": Column("real", "Sample standard deviation (n - 1) of the finite values; NULL when n < 2 or beyond the largest double."),
            "min": Column("real", "Least finite value."),
            "max": Column("real", "Greatest finite value."),
            "failed": Column("integer", "How many trials of this row's configuration ended failed or quarantined."),
            "nonfinite": Column("integer", "How many accepted values are nan, +inf or -inf; mean, sd, min and max leave them out."),
            "data_fingerprint": FINGERPRINT,
            "protocol": PROTOCOL,
        },
        """SELECT tc.family AS family, tc.task AS task, tc.version AS task_version, tc.params AS task_params, mc.method AS method,
            mc.version AS method_version, mc.params AS method_params, m.metric AS metric, m.unit AS unit, m.direction AS direction,
            m.is_primary AS is_primary, s.n AS n, s.mean AS mean, s.sd AS sd, s.low AS min, s.high AS max,
            (SELECT count(*) FROM trial f WHERE f.task_config_id = s.task_config_id AND f.method_config_id = s.method_config_id
                AND f.state IN ('failed', 'quarantined')) AS failed,
            s.nonfinite AS nonfinite, tc.data_fingerprint AS data_fingerprint, tc.protocol AS protocol
        FROM summary s JOIN task_config tc ON tc.id = s.task_config_id JOIN method_config mc ON mc.id = s.method_config_id
        JOIN metric m ON m.id = s.metric_id
        UNION ALL
        SELECT tc.family, tc.task, tc.version, tc.params, mc.method, mc.version, mc.params, m.metric, m.unit, m.direction, m.is_primary,
            0, NULL, NULL, NULL, NULL, f.failed, 0, tc.data_fingerprint, tc.protocol
        FROM (SELECT task_config_id, method_config_id, count(*) AS failed FROM trial
            WHERE state IN ('failed', 'quarantined') GROUP BY task_config_id, method_config_id) f
        JOIN task_config tc ON tc.id = f.task_config_id JOIN method_config mc ON mc.id = f.method_config_id
        JOIN metric m ON m.task = tc.task AND m.curve IS NULL
        WHERE NOT EXISTS (SELECT 1 FROM summary s WHERE s.task_config_id = f.task_config_id
            AND s.method_config_id = f.method_config_id)""",
    ),
    "claims": View(
        "The papers' claims as defined now, with the newest verdict about this definition.",
        {
            "claim": CLAIM,
            "paper": PAPER,
            "family": FAMILY,
            "statement": Column("text", "What the paper says, as one checkable sentence."),
            "task": TASK,
            "metric": METRIC,
            "definition": Column("json", "The whole claim: kind, arms, margin, minimum seeds, control."),
            "hash": Column("text", "sha256 of the definition; an edited claim has another hash and no verdict until it is decided again."),
            "verdict": Column("text", "supported, refuted, inconclusive or not attempted; NULL when nobody has decided this definition."),
            "effect": Column("real", "Estimated effect, in the claim's own terms (difference or ratio)."),
            "low": Column("real", "Lower end of the effect's interval; may be infinite."),
            "high": Column("real", "Upper end of the effect's interval; may be infinite."),
            "n": Column("integer", "Number of paired observations (seeds) behind the verdict."),
            "p_value": Column("real", "p value of the test; NULL where the test has none."),
            "test": Column("text", "Name of the statistical test."),
            "detail": Column("json", "Everything else that made the verdict."),
            "trials": Column("json", "Sorted list of the keys of the trials that made the verdict."),
            "decided": Column("time", "When the verdict was stored, by the database's clock."),
        },
        """SELECT c.claim AS claim, c.paper AS paper, c.family AS family, c.statement AS statement, c.task AS task, c.metric AS metric,
            c.definition AS definition, c.hash AS hash, v.verdict AS verdict, v.effect AS effect, v.low AS low, v.high AS high, v.n AS n,
            v.p_value AS p_value, v.test AS test, v.detail AS detail, v.trials AS trials, v.decided AS decided
        FROM claim c LEFT JOIN verdict v
            ON v.id = (SELECT max(w.id) FROM verdict w WHERE w.claim = c.claim AND w.claim_hash = c.hash)""",
    ),
    "claim_revisions": View(
        "Earlier definitions of claims that were edited since.",
        {
            "claim": CLAIM,
            "hash": Column("text", "sha256 of the earlier definition."),
            "statement": Column("text", "The earlier statement."),
            "definition": Column("json", "The earlier definition."),
            "since": Column("time", "When this definition entered the ledger."),
            "replaced": Column("time", "When another took its place."),
        },
        """SELECT r.claim AS claim, r.hash AS hash, r.statement AS statement, r.definition AS definition, r.since AS since,
            r.replaced AS replaced
        FROM claim_revision r""",
    ),
    "verdicts": View(
        "Every verdict ever stored; append-only.",
        {
            "claim": CLAIM,
            "claim_hash": Column("text", "Hash of the definition that was decided."),
            "current": Column("flag", "1 when the claims view shows this verdict."),
            "verdict": Column("text", "supported, refuted, inconclusive or not attempted."),
            "effect": Column("real", "Estimated effect, in the claim's own terms (difference or ratio)."),
            "low": Column("real", "Lower end of the effect's interval; may be infinite."),
            "high": Column("real", "Upper end of the effect's interval; may be infinite."),
            "n": Column("integer", "Number of paired observations (seeds) behind the verdict."),
            "p_value": Column("real", "p value of the test; NULL where the test has none."),
            "test": Column("text", "Name of the statistical test."),
            "detail": Column("json", "Everything else that made the verdict."),
            "trials": Column("json", "Sorted list of the keys of the trials that made the verdict."),
            "decided": Column("time", "When it was stored, by the database's clock."),
        },
        """SELECT v.claim AS claim, v.claim_hash AS claim_hash,
            CASE WHEN v.id = (SELECT max(w.id) FROM verdict w WHERE w.claim = c.claim AND w.claim_hash = c.hash) THEN 1 ELSE 0 END
                AS current,
            v.verdict AS verdict, v.effect AS effect, v.low AS low, v.high AS high, v.n AS n, v.p_value AS p_value, v.test AS test,
            v.detail AS detail, v.trials AS trials, v.decided AS decided
        FROM verdict v JOIN claim c ON c.claim = v.claim""",
    ),
    "costs": View(
        "What was spent, by run, task and method.",
        {
            "run": RUN,
            "family": FAMILY,
            "task": TASK,
            "method": METHOD,
            "trials": Column("integer", "How many trials had at least one attempt in this run."),
            "attempts": Column("integer", "How many attempts."),
            "failed_attempts": Column("integer", "How many attempts did not end ok."),
            "seconds": Column("real", "Wall time of all attempts, in seconds."),
            "cpu_seconds": Column("real", "CPU time of all attempts, in seconds."),
        },
        """SELECT r.run AS run, tc.family AS family, tc.task AS task, mc.method AS method, count(DISTINCT a.trial_id) AS trials,
            count(*) AS attempts, sum(CASE WHEN a.outcome = 'ok' THEN 0 ELSE 1 END) AS failed_attempts, sum(a.seconds) AS seconds,
            sum(a.cpu_seconds) AS cpu_seconds
        FROM attempt a JOIN run r ON r.id = a.run_id JOIN trial t ON t.id = a.trial_id JOIN task_config tc ON tc.id = t.task_config_id
        JOIN method_config mc ON mc.id = t.method_config_id
        GROUP BY r.run, tc.family, tc.task, mc.method""",
    ),
    "tasks": View(
        "Catalogue of tasks, as the newest run knew them.",
        {
            "task": TASK,
            "family": FAMILY,
            "version": TASK_VERSION,
            "label": Column("text", "Name for tables."),
            "doc": Column("text", "What the task measures, and how."),
            "params_schema": Column("json", "JSON Schema of the parameters."),
        },
        """SELECT k.task AS task, k.family AS family, k.version AS version, k.label AS label, k.doc AS doc,
            k.params_schema AS params_schema FROM task k""",
    ),
    "methods": View(
        "Catalogue of methods, as the newest run knew them.",
        {
            "method": METHOD,
            "family": Column("text", "Family of the method, such as quantization."),
            "version": METHOD_VERSION,
            "label": Column("text", "Name for tables."),
            "doc": Column("text", "What the method does, and its source."),
            "paper": Column("integer", "Number of the paper it comes from; NULL for a baseline without one."),
            "knowledge": Column("json", "List of what the method is told beyond its inputs."),
            "params_schema": Column("json", "JSON Schema of the parameters."),
        },
        """SELECT k.method AS method, k.family AS family, k.version AS version, k.label AS label, k.doc AS doc, k.paper AS paper,
            k.knowledge AS knowledge, k.params_schema AS params_schema FROM method k""",
    ),
    "metrics": View(
        "Catalogue of metrics. A metric that was recorded but never declared has an empty unit and doc and direction none.",
        {
            "task": TASK,
            "metric": METRIC,
            "unit": UNIT,
            "direction": DIRECTION,
            "doc": Column("text", "What the number means."),
            "is_primary": IS_PRIMARY,
            "curve": Column("text", "Name of the x axis of a metric that is a series; NULL for a scalar."),
        },
        """SELECT m.task AS task, m.metric AS metric, m.unit AS unit, m.direction AS direction, m.doc AS doc, m.is_primary AS is_primary,
            m.curve AS curve FROM metric m""",
    ),
    "papers": View(
        "Catalogue of papers.",
        {
            "paper": PAPER,
            "title": Column("text", "Title of the paper."),
            "family": Column("text", "Family that the paper belongs to."),
            "tier": Column("text", "How deeply Assay covers the family."),
            "benchmark": Column("text", "What a benchmark of the paper would be."),
        },
        """SELECT p.paper AS paper, p.title AS title, p.family AS family, p.tier AS tier, p.benchmark AS benchmark FROM paper p""",
    ),
    "runs": View(
        "One row per invocation of `assay run` (or import).",
        {
            "run": RUN,
            "suite": Column("text", "Name of the suite."),
            "suite_text": Column("text", "The suite as resolved, YAML."),
            "engine": Column("text", "inline, process or ray."),
            "argv": Column("json", "The command line, a list."),
            "planned": Column("integer", "Trials in the plan, those already done included."),
            "started": Column("time", "When it started, by the database's clock."),
            "finished": Column("time", "When it ended; NULL while it runs or when it was killed."),
            "status": Column("text", "running, complete, incomplete, interrupted, failed or imported."),
            "environment": ENVIRONMENT,
        },
        """SELECT r.run AS run, r.suite AS suite, r.suite_text AS suite_text, r.engine AS engine, r.argv AS argv, r.planned AS planned,
            r.started AS started, r.finished AS finished, r.status AS status, e.hash AS environment
        FROM run r LEFT JOIN environment e ON e.id = r.environment_id""",
    ),
    "run_trials": View(
        "Which trials the plan of which run holds.",
        {"run": RUN, "trial": TRIAL},
        """SELECT r.run AS run, t.key AS trial FROM run_trial x JOIN run r ON r.id = x.run_id JOIN trial t ON t.id = x.trial_id""",
    ),
}
