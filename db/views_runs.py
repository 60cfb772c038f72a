"""Public views of runs and of what is done beside trials: costs, tags, audits, submissions to guarded boards."""

from __future__ import annotations

from db.columns import (
    ENVIRONMENT,
    FAMILY,
    METHOD,
    RUN,
    TASK,
    TRIAL,
    Column,
    View,
)

RUN_VIEWS: dict[str, View] = {
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
    "tags": View(
        "Tags that people gave to runs.",
        {"run": RUN, "tag": Column("text", "The tag, as given with `--tag` or by the suite.")},
        """SELECT r.run AS run, x.tag AS tag FROM run_tag x JOIN run r ON r.id = x.run_id""",
    ),
    "audits": View(
        "Repetitions of accepted trials, each with how well it agreed: what `assay audit` found.",
        {
            "audit": Column("text", "Id of the audit, which is the id of the repetition's attempt."),
            "trial": TRIAL,
            "task": TASK,
            "method": METHOD,
            "condition": Column(
                "text",
                "other worker or other threads: against the accepted result, in a fresh worker process, with as many numeric threads as it "
                "had or another number; same worker: the second of two repetitions in one process against the first.",
            ),
            "verdict": Column("text", "bitwise, within tolerance or different; clock readings are left out."),
            "tolerance": Column("real", "Largest relative difference that counts as within tolerance."),
            "deviation": Column(
                "real",
                "Largest relative difference |a - b| / max(|a|, |b|, 0.001) over the metrics; infinite where one is not finite and the "
                "other differs, NULL when the repetition has no result.",
            ),
            "metric": Column("text", "Metric with the largest difference; NULL when all agree bitwise or there is no result."),
            "run": RUN,
            "environment": ENVIRONMENT,
            "at": Column("time", "When it was stored, by the database's clock."),
        },
        """SELECT a.key AS audit, t.key AS trial, tc.task AS task, mc.method AS method, x.condition AS condition, x.verdict AS verdict,
            x.tolerance AS tolerance, x.deviation AS deviation, x.metric AS metric, r.run AS run, e.hash AS environment, x.at AS at
        FROM audit x JOIN attempt a ON a.id = x.attempt_id JOIN trial t ON t.id = a.trial_id JOIN run r ON r.id = a.run_id
        JOIN task_config tc ON tc.id = t.task_config_id JOIN method_config mc ON mc.id = t.method_config_id
        LEFT JOIN environment e ON e.id = a.environment_id""",
    ),
    "submissions": View(
        "Submissions to guarded boards, which answer from a holdout only as often as their budget allows; append-only. Hidden scores are "
        "never stored.",
        {
            "submission": Column("text", "Id of the submission."),
            "board": Column("text", "Name of the guarded board."),
            "number": Column("integer", "1 for the first submission to its board, then 2, 3, …"),
            "submitter": Column("text", "Who submitted."),
            "method": Column("text", "Method id, where a method of the catalogue was submitted; else NULL."),
            "note": Column("text", "What the submitter said about it."),
            "mechanism": Column("text", "Mechanism that guards the holdout, such as thresholdout."),
            "displayed": Column("real", "The value that the submitter saw; NULL when none was shown."),
            "released": Column("flag", "1 when the value is a new answer from the holdout, 0 when the guard answered without one."),
            "threshold": Column("real", "The mechanism's public threshold or step; NULL where it has none."),
            "budget_left": Column("real", "Budget of the board after this submission; NULL where the mechanism has none."),
            "at": Column("time", "When it was stored, by the database's clock."),
        },
        """SELECT s.submission AS submission, s.board AS board, s.number AS number, s.submitter AS submitter, s.method AS method,
            s.note AS note, s.mechanism AS mechanism, s.displayed AS displayed, s.released AS released, s.threshold AS threshold,
            s.budget_left AS budget_left, s.at AS at
        FROM submission s""",
    ),
}
