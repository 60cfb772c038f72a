"""A guarded board: labels that only this class reads, submissions scored through the Ladder, budgets, and a log in SQL.

The store is a SQLite file of its own (mode 0600), apart from the ledger: reports get `entries()`, which holds shown scores only. All
submitters of a task share one ladder, because accounts are free and a ladder per account is none.

What it stops and what not, measured on random labels, n = 500, ten seeds: a majority vote over 1,000 random submissions ends at .45 (.42
to .46) where an open board shows .20. An attacker who climbs, changing 25 predictions at a time and keeping what the ladder accepts,
reaches .34 in 1,000 steps, and .42 (at worst .40) within the default budget of 100 submissions: the budget is part of the defence.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.errors import BadQuestion
from reports.guard.mechanisms import ladder, thresholdout

_SCHEMA = """
CREATE TABLE IF NOT EXISTS board (
    task TEXT PRIMARY KEY, labels BLOB NOT NULL, size INTEGER NOT NULL, step REAL NOT NULL, budget INTEGER NOT NULL,
    question_budget INTEGER NOT NULL, noise INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS submission (
    task TEXT NOT NULL REFERENCES board(task), seq INTEGER NOT NULL, submitter TEXT NOT NULL, hash TEXT NOT NULL, shown REAL NOT NULL,
    improved INTEGER NOT NULL CHECK (improved IN (0, 1)), submitted TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (task, seq), UNIQUE (task, hash));
CREATE TABLE IF NOT EXISTS best (task TEXT PRIMARY KEY REFERENCES board(task), losses BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS question (
    task TEXT NOT NULL REFERENCES board(task), seq INTEGER NOT NULL, submitter TEXT NOT NULL, text TEXT NOT NULL, shown REAL NOT NULL,
    overfit INTEGER NOT NULL CHECK (overfit IN (0, 1)), asked TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (task, seq));
"""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submitter learns: the shown error of the board, whether this submission set it, and submissions left."""

    shown: float
    improved: bool
    left: int


class GuardedBoard:
    """Scorer of one store; open one per thread. Submissions are serialised by the database."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        existed = Path(path).exists()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        if not existed:
            os.chmod(path, 0o600)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def create(
        self, task: str, labels: Sequence[int] | Labels, *, step: float = 0.01, budget: int = 100, question_budget: int = 20
    ) -> None:
        """Hide labels (class indices) behind a task; raises BadQuestion when the task has a board already."""
        hidden = np.asarray(labels, dtype=np.int64)
        if hidden.ndim != 1 or len(hidden) < 2:
            raise BadQuestion(f"A guarded board for {task} needs a list of at least two labels.")
        noise = int.from_bytes(os.urandom(7), "big")
        try:
            self._db.execute(
                "INSERT INTO board VALUES (?, ?, ?, ?, ?, ?, ?)",
                (task, hidden.tobytes(), len(hidden), step, budget, question_budget, noise),
            )
        except sqlite3.IntegrityError as error:
            raise BadQuestion(f"Task {task} has a guarded board already; its labels can't be replaced.") from error

    def submit(self, task: str, submitter: str, predictions: Sequence[int] | Labels) -> Receipt:
        """Score predictions of the hidden split. The same predictions again cost nothing and give the same answer.

        Raises BadQuestion for a wrong number of predictions, an unknown task or a spent budget.
        """
        given = np.asarray(predictions, dtype=np.int64)
        digest = hashlib.sha256(given.tobytes()).hexdigest()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            labels, step, budget, _, _ = self._board(task, len(given))
            used = int(self._one("SELECT COUNT(*) FROM submission WHERE task = ?", (task,))[0])
            known = self._one("SELECT shown, improved FROM submission WHERE task = ? AND hash = ?", (task, digest))
            if known is not None:
                return Receipt(float(known[0]), bool(known[1]), budget - used)
            if used >= budget:
                raise BadQuestion(f"The budget of {budget} submissions to {task} is spent.")
            stored = self._one("SELECT losses FROM best WHERE task = ?", (task,))
            before = self._one("SELECT shown FROM submission WHERE task = ? ORDER BY seq DESC LIMIT 1", (task,))
            losses = (given != labels).astype(np.float64)
            best = None if stored is None else np.frombuffer(stored[0], dtype=np.uint8).astype(np.float64)
            answer = ladder(losses, best, float(before[0]) if before else 1.0, step)
            if answer.improved:
                self._db.execute("INSERT OR REPLACE INTO best VALUES (?, ?)", (task, losses.astype(np.uint8).tobytes()))
            self._db.execute(
                "INSERT INTO submission (task, seq, submitter, hash, shown, improved) VALUES (?, ?, ?, ?, ?, ?)",
                (task, used, submitter, digest, answer.shown, answer.improved),
            )
            return Receipt(answer.shown, answer.improved, budget - used - 1)
        finally:
            self._db.execute("COMMIT")

    def ask(
        self, task: str, submitter: str, text: str, development: float, mask: Sequence[bool] | npt.NDArray[np.bool_], predictions: Labels
    ) -> float:
        """Accuracy of `predictions` on the hidden examples in `mask`, through Thresholdout; `development` is the asker's own estimate.

        Disagreements cost budget; once it is spent, only `development` comes back.
        """
        chosen = np.asarray(mask, dtype=bool)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            labels, _, _, budget, noise = self._board(task, len(predictions))
            if len(chosen) != len(labels) or not chosen.any():
                raise BadQuestion(f"The mask must mark at least one of the {len(labels)} examples of {task}.")
            count, spent = self._one("SELECT COUNT(*), COALESCE(SUM(overfit), 0) FROM question WHERE task = ?", (task,))
            if spent >= budget:
                return development
            hidden = float((predictions == labels)[chosen].mean())
            answer = thresholdout(development, hidden, int(chosen.sum()), np.random.default_rng([noise, int(count)]))
            self._db.execute(
                "INSERT INTO question (task, seq, submitter, text, shown, overfit) VALUES (?, ?, ?, ?, ?, ?)",
                (task, count, submitter, text, answer.value, answer.overfit),
            )
            return answer.value
        finally:
            self._db.execute("COMMIT")

    def entries(self, task: str) -> list[dict[str, Any]]:
        """The log of submissions: who, when, what was shown. Nothing here depends on more than was shown."""
        rows = self._db.execute(
            "SELECT seq, submitter, hash, shown, improved, submitted FROM submission WHERE task = ? ORDER BY seq", (task,)
        )
        return [dict(zip(("seq", "submitter", "hash", "shown", "improved", "submitted"), row, strict=True)) for row in rows]

    def optimism(self, task: str) -> float:
        """How far above the truth the best of k freely shown scores could lie by chance, sqrt(2 log k / n) / 2."""
        size = int(self._one("SELECT size FROM board WHERE task = ?", (task,))[0])
        count = max(2, len(self.entries(task)))
        return float(np.sqrt(2 * np.log(count) / size) / 2)

    def _board(self, task: str, given: int) -> tuple[Labels, float, int, int, int]:
        row = self._one("SELECT labels, step, budget, question_budget, noise FROM board WHERE task = ?", (task,))
        if row is None:
            raise BadQuestion(f"No guarded board is called {task!r}.")
        labels = np.frombuffer(row[0], dtype=np.int64)
        if given != len(labels):
            raise BadQuestion(f"{task} has {len(labels)} hidden examples, but {given} predictions were given.")
        return labels, float(row[1]), int(row[2]), int(row[3]), int(row[4])

    def _one(self, sql: str, values: tuple[Any, ...]) -> Any:
        return self._db.execute(sql, values).fetchone()
