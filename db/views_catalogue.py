"""Public views of the catalogue: tasks, methods, metrics, papers, claims and their verdicts."""

from __future__ import annotations

from db.columns import (
    CLAIM,
    DIRECTION,
    FAMILY,
    IS_PRIMARY,
    METHOD,
    METHOD_VERSION,
    METRIC,
    PAPER,
    TASK,
    TASK_VERSION,
    UNIT,
    Column,
    View,
)

CATALOGUE_VIEWS: dict[str, View] = {
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
            "params_schema": Column("json", "JSON Schema of the parameters; its x-settings are named choices per task (theory, tuned)."),
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
            "low": Column("real", "Least legal value; NULL when unbounded below."),
            "high": Column("real", "Greatest legal value; NULL when unbounded above."),
        },
        """SELECT m.task AS task, m.metric AS metric, m.unit AS unit, m.direction AS direction, m.doc AS doc, m.is_primary AS is_primary,
            m.curve AS curve, m.low AS low, m.high AS high FROM metric m""",
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
}
