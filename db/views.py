"""The public SQL surface: every view, each with its documentation as data. Base tables are private and may change between revisions."""

from __future__ import annotations

from db.columns import (
    ATTEMPT,
    DIRECTION,
    ENVIRONMENT,
    FAMILY,
    FINGERPRINT,
    IS_PRIMARY,
    KIND,
    METHOD,
    METHOD_PARAMS,
    METHOD_VERSION,
    METRIC,
    PROTOCOL,
    RUN,
    SEED,
    TASK,
    TASK_PARAMS,
    TASK_VERSION,
    TRIAL,
    UNIT,
    VALUE,
    Column,
    View,
)
from db.views_catalogue import CATALOGUE_VIEWS
from db.views_runs import RUN_VIEWS

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
            "block": Column(
                "integer",
                "Number of the random block in which a timing-sensitive trial was interleaved with its rivals; NULL when it was not.",
            ),
        },
        """SELECT a.key AS attempt, t.key AS trial, r.run AS run, a.number AS number, a.outcome AS outcome, a.accepted AS accepted,
            a.started AS started, a.finished AS finished, a.seconds AS seconds, a.cpu_seconds AS cpu_seconds, a.worker AS worker,
            e.hash AS environment, a.error AS error, coalesce(x.traceback, '') AS traceback, coalesce(x.stdout, '') AS stdout,
            coalesce(x.stderr, '') AS stderr, a.info AS info, a.block AS block
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
    **CATALOGUE_VIEWS,
    **RUN_VIEWS,
}
