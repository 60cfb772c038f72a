"""A guarded board: labels that only this class reads, answers through the Ladder and Thresholdout, budgets; each answer is a ledger row.

All submitters of a board share one ladder, because accounts are free and a ladder per account is none. Their shares of the budget only keep
one of them from spending it all.

What it stops and what not, on random labels, n = 500 (tests/reports/guard/test_guard_simulations.py): a majority vote over 1,000 random
submissions ends at .44 in the median (at worst .40) where an open board shows .21. An attacker who climbs, changing 25 predictions at a
time and keeping what the ladder accepts, reaches .34 in 1,000 steps, and .42 (at worst .39) within the default budget of 100 submissions:
the budget is part of the defence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from db.ledger import Ledger
from db.records import SubmissionRow
from reports.errors import BadQuestion, BudgetSpent
from reports.guard import BUDGET, QUESTIONS, SHARE
from reports.guard.mechanisms import ladder, threshold_of, thresholdout
from reports.guard.predictions import Labels, whole
from reports.guard.store import connect, first, unknown, writing

#: Mechanisms, as the view `submissions` names them.
LADDER, THRESHOLDOUT = "ladder", "thresholdout"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submitter learns: the board's best error as shown, whether this submission set it, and how many submissions are left (to
    this submitter, and to everybody together). `again`: these predictions were submitted before, and cost nothing."""

    shown: float
    improved: bool
    left: int
    board_left: int
    again: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of Thresholdout. Unless `from_board` it is the development value, because the splits agree or the budget is spent."""

    value: float
    from_board: bool
    left: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What everybody may know about a board, before any submission. `development`: rows of the development split."""

    name: str
    task: str
    params: Mapping[str, Any]
    rows: int
    development: int
    step: float
    budget: int
    share: int
    questions: int
    created: str


class GuardedBoard:
    """The scorer: opens the store at `path` and answers; every answer is also a row of the ledger's view `submissions`.

    The store is committed first and the ledger follows: rows that it could not take are written with the next answer, in order. One object
    per thread; any number of processes may share a store.
    """

    def __init__(self, path: str | os.PathLike[str], ledger: Ledger, create: bool = False) -> None:
        self._db = connect(path, create)
        self._ledger = ledger

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def create(
        self,
        name: str,
        task: str,
        params: Mapping[str, Any],
        labels: Labels,
        development: Labels,
        *,
        step: float = 0.01,
        budget: int = BUDGET,
        share: int = SHARE,
        questions: int = QUESTIONS,
    ) -> None:
        """Hide `labels` [n] of the board split behind a name; `development` [m] are the labels that everybody has.

        `share` is one submitter's part of the budget. Raises BadQuestion when the name is taken, here or in the ledger.
        """
        self.check_free(name)
        hidden, open_ = np.asarray(labels, dtype=np.int64), np.asarray(development, dtype=np.int64)
        if hidden.ndim != 1 or open_.ndim != 1 or len(hidden) < 2 or len(open_) < 1:
            raise BadQuestion(f"The board {name} needs labels of at least two hidden rows and of one development row.")
        if not 0 < step < 1 or min(budget, share) < 1 or questions < 0:
            raise BadQuestion("A board's step lies between 0 and 1, and its budgets are at least 1 (of questions: 0).")
        uid, noise = os.urandom(8).hex(), int.from_bytes(os.urandom(7), "big")
        values = (name, uid, task, json.dumps(dict(params), sort_keys=True), hidden.tobytes(), open_.tobytes())
        with writing(self._db):
            self._db.execute(
                "INSERT INTO board (name, uid, task, params, labels, development, step, budget, share, questions, noise) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, step, budget, min(share, budget), questions, noise),
            )

    def check_free(self, name: str) -> None:
        """Raises BadQuestion when no board can be created under that name."""
        if not NAME.fullmatch(name):
            raise BadQuestion(f"{name!r} can't name a board; a name has up to 64 letters, digits, dots, hyphens and underscores.")
        if first(self._db, "SELECT 1 FROM board WHERE name = ?", name):
            raise BadQuestion(f"There is a guarded board {name} already, and its labels can't be replaced; choose another name.")
        if self._logged(name):
            raise BadQuestion(f"The ledger holds submissions to another board {name}; choose another name.")

    def submit(self, name: str, submitter: str, predictions: Any, *, method: str | None = None, note: str = "") -> Receipt:
        """Score predictions [n] of the board split. The same predictions again cost nothing and give the same answer.

        Raises BadQuestion for an unknown board or predictions that don't fit, BudgetSpent when the submitter or the board has no
        submissions left.
        """
        checked_name(submitter)
        with writing(self._db):
            labels, _, step, budget, share, _, _ = self._board(name)
            given = whole(predictions, len(labels))
            digest = _digest(LADDER.encode(), given)
            used, mine = first(
                self._db,
                "SELECT COUNT(*), COALESCE(SUM(submitter = ?), 0) FROM query WHERE board = ? AND mechanism = 'ladder'",
                submitter,
                name,
            )
            known = first(self._db, "SELECT shown, released FROM query WHERE board = ? AND hash = ?", name, digest)
            if known is not None:
                receipt = Receipt(known[0], bool(known[1]), min(share - mine, budget - used), budget - used, True)
            else:
                if used >= budget:
                    raise BudgetSpent(f"The budget of the board {name} is spent ({budget} submissions by everybody together).")
                if mine >= share:
                    raise BudgetSpent(f"{submitter} has made all {share} submissions that one submitter may make to the board {name}.")
                stored = first(self._db, "SELECT losses FROM best WHERE board = ?", name)
                best = None if stored is None else np.frombuffer(stored[0], dtype=np.uint8).astype(np.float64)
                losses = (given != labels).astype(np.float64)
                answer = ladder(losses, best, self._shown(name), step)
                if answer.improved:
                    self._db.execute("INSERT OR REPLACE INTO best VALUES (?, ?)", (name, losses.astype(np.uint8).tobytes()))
                left = budget - used - 1
                self._write(name, LADDER, submitter, method, note, digest, answer.shown, answer.improved, step, left)
                receipt = Receipt(answer.shown, answer.improved, min(share - mine - 1, left), left, False)
        self._log(name)
        return receipt

    def ask(self, name: str, submitter: str, predictions: Any, development: Any, *, predicted: int | None = None, note: str = "") -> Answer:
        """The accuracy of `predictions` on the board split through Thresholdout, which answers with that of `development` on the
        development split while both agree. `predicted`: only on the rows for which that class is predicted.

        Answers from the board cost budget; when it is spent all answers are development values. The same question again is free.
        """
        checked_name(submitter)
        question = "accuracy" if predicted is None else f"accuracy where {predicted} is predicted"
        with writing(self._db):
            labels, open_labels, _, _, _, budget, noise = self._board(name)
            given, dev = whole(predictions, len(labels)), whole(development, len(open_labels), "development split")
            rows, dev_rows = (np.ones(len(made), dtype=bool) if predicted is None else made == predicted for made in (given, dev))
            if not rows.any() or not dev_rows.any():
                raise BadQuestion(f"Class {predicted} is predicted for no row of the board or of the development split.")
            digest = _digest(question.encode(), given, dev)
            asked, spent = first(
                self._db,
                "SELECT COUNT(*), COALESCE(SUM(released), 0) FROM query WHERE board = ? AND mechanism = 'thresholdout'",
                name,
            )
            known = first(self._db, "SELECT shown, released FROM query WHERE board = ? AND hash = ?", name, digest)
            if known is not None:
                answer = Answer(known[0], bool(known[1]), budget - spent)
            else:
                value, released = float((dev == open_labels)[dev_rows].mean()), False
                if spent < budget:
                    period, once = np.random.default_rng([noise, 0, int(spent)]), np.random.default_rng([noise, 1, int(asked)])
                    found = thresholdout(value, float((given == labels)[rows].mean()), int(rows.sum()), period, once)
                    value, released = found.value, found.overfit
                left = budget - spent - released
                text = f"{question}; {note}" if note else question
                self._write(name, THRESHOLDOUT, submitter, None, text, digest, value, released, threshold_of(int(rows.sum())), left)
                answer = Answer(value, released, left)
        self._log(name)
        return answer

    def names(self) -> list[str]:
        """The boards of the store, in the order in which they were made."""
        return [row[0] for row in self._db.execute("SELECT name FROM board ORDER BY created, name")]

    def facts(self, name: str) -> Facts:
        """What everybody may know; raises BadQuestion for an unknown board."""
        row = first(
            self._db,
            "SELECT task, params, length(labels) / 8, length(development) / 8, step, budget, share, questions, created FROM board "
            "WHERE name = ?",
            name,
        )
        if row is None:
            raise unknown(self._db, name)
        return Facts(name, row[0], json.loads(row[1]), *row[2:])

    def _shown(self, name: str) -> float:
        row = first(self._db, "SELECT shown FROM query WHERE board = ? AND mechanism = 'ladder' ORDER BY seq DESC LIMIT 1", name)
        return 1.0 if row is None else float(row[0])

    def _board(self, name: str) -> tuple[Labels, Labels, float, int, int, int, int]:
        row = first(self._db, "SELECT labels, development, step, budget, share, questions, noise FROM board WHERE name = ?", name)
        if row is None:
            raise unknown(self._db, name)
        return np.frombuffer(row[0], dtype=np.int64), np.frombuffer(row[1], dtype=np.int64), *row[2:]

    def _write(self, name: str, mechanism: str, submitter: str, method: str | None, note: str, digest: str, shown: float,
               released: bool, threshold: float, left: int) -> None:  # fmt: skip
        self._db.execute(
            "INSERT INTO query SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM query WHERE board = ?",
            (name, mechanism, submitter, method, note, digest, shown, released, threshold, left, name),
        )

    def _logged(self, name: str) -> tuple[int, str] | None:
        """Number and id of the board's last row in the ledger."""
        rows = self._ledger.query(
            "SELECT number, submission FROM submissions WHERE board = :board ORDER BY number DESC LIMIT 1", {"board": name}
        ).to_pylist()
        return (rows[0]["number"], rows[0]["submission"]) if rows else None

    def _log(self, name: str) -> None:
        """Write the answers that the ledger lacks."""
        last, id = self._logged(name) or (0, "")  # before the store is read: others may answer and log meanwhile
        uid, newest = first(
            self._db, "SELECT uid, COALESCE((SELECT MAX(seq) FROM query WHERE board = name), 0) FROM board WHERE name = ?", name
        )
        if last and (id != f"{uid}-{last}" or last > newest):
            raise BadQuestion(f"The ledger {self._ledger.url} holds submissions to another board {name}; name the board's own with --db.")
        for seq, submitter, mechanism, shown, released, threshold, left, method, note in self._db.execute(
            "SELECT seq, submitter, mechanism, shown, released, threshold, budget_left, method, note FROM query "
            "WHERE board = ? AND seq > ? ORDER BY seq",
            (name, last),
        ).fetchall():
            row = SubmissionRow(f"{uid}-{seq}", name, submitter, mechanism, shown, bool(released), threshold, left, method, note)
            self._ledger.record_submission(row)


def checked_name(submitter: str) -> None:
    """Raises BadQuestion when that can't be a submitter's name."""
    if not submitter.strip() or len(submitter) > 100 or not submitter.isprintable():
        raise BadQuestion(f"{submitter[:100]!r} can't be the name of a submitter; it has 1 to 100 printable characters.")


def _digest(what: bytes, *arrays: Labels) -> str:
    return hashlib.sha256(b"\0".join([what, *(array.tobytes() for array in arrays)])).hexdigest()
