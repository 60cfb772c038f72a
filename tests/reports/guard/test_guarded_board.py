"""The guarded board against the attacks it is there for, on random labels where every error below one half is an illusion."""

from __future__ import annotations

import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reports.errors import BadQuestion
from reports.guard.board import GuardedBoard
from reports.guard.mechanisms import ladder, thresholdout

N = 500


def majority_attack(show: object, rng: np.random.Generator, rounds: int = 1000) -> np.ndarray:
    """Blum and Hardt's attack: submit random labels, keep those whose shown error looks better than chance, vote."""
    kept = []
    for _ in range(rounds):
        guess = rng.integers(0, 2, N)
        if show(guess) < 0.5:  # type: ignore[operator]
            kept.append(guess)
    return (np.mean(kept, axis=0) > 0.5).astype(np.int64) if kept else rng.integers(0, 2, N)


@pytest.mark.parametrize("seed", range(3))
def test_majority_vote_of_1000_submissions_fools_an_open_board_but_not_the_guarded_one(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, N)
    vote = majority_attack(lambda guess: float((guess != labels).mean()), np.random.default_rng([seed, 1]))
    assert (vote != labels).mean() <= 0.34  # the open board shows a worthless method at .34 or better

    board = GuardedBoard(tmp_path / "guard.db")
    board.create("t", labels, budget=2000)
    improved: list[np.ndarray] = []

    def show(guess: np.ndarray) -> float:
        receipt = board.submit("t", "eve", guess)
        if receipt.improved:
            improved.append(guess)
        return receipt.shown

    vote = majority_attack(show, np.random.default_rng([seed, 1]))
    assert board.submit("t", "eve", vote).shown >= 0.42
    # The attacker who keeps only what moved the ladder gets no further.
    chosen = (np.mean(improved, axis=0) > 0.5).astype(np.int64)
    assert board.submit("t", "eve", chosen).shown >= 0.42


def test_a_real_improvement_is_shown_and_rounded(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 10, N)
    board = GuardedBoard(tmp_path / "guard.db")
    board.create("t", labels)
    noisy = labels.copy()
    noisy[:203] = (noisy[:203] + 1) % 10
    assert board.submit("t", "ann", noisy).shown == pytest.approx(0.41)
    better = labels.copy()
    better[:51] = (better[:51] + 1) % 10
    receipt = board.submit("t", "bob", better)
    assert (receipt.shown, receipt.improved, receipt.left) == (pytest.approx(0.10), True, 98)
    slightly = better.copy()
    slightly[0] = labels[0]
    assert board.submit("t", "bob", slightly).improved is False
    assert [entry["shown"] for entry in board.entries("t")] == pytest.approx([0.41, 0.10, 0.10])


def test_submitting_the_same_predictions_again_costs_nothing(tmp_path: Path) -> None:
    board = GuardedBoard(tmp_path / "guard.db")
    board.create("t", [0, 1, 1, 0], budget=2)
    first = board.submit("t", "ann", [0, 1, 0, 0])
    assert board.submit("t", "eve", [0, 1, 0, 0]) == first
    board.submit("t", "ann", [1, 1, 1, 1])
    with pytest.raises(BadQuestion, match="budget of 2"):
        board.submit("t", "ann", [0, 0, 0, 0])
    assert board.submit("t", "ann", [0, 1, 0, 0]).shown == first.shown


def test_wrong_questions_get_one_sentence(tmp_path: Path) -> None:
    board = GuardedBoard(tmp_path / "guard.db")
    board.create("t", [0, 1, 1])
    with pytest.raises(BadQuestion, match="3 hidden examples, but 2"):
        board.submit("t", "ann", [0, 1])
    with pytest.raises(BadQuestion, match="No guarded board"):
        board.submit("u", "ann", [0, 1])
    with pytest.raises(BadQuestion, match="already"):
        board.create("t", [0, 1, 1])
    with pytest.raises(BadQuestion, match="at least two"):
        board.create("v", [1])


def test_the_store_is_private_and_the_log_holds_only_what_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    board = GuardedBoard(path)
    board.create("t", [0, 1] * 50)
    for at in range(10):
        board.submit("t", "ann", np.random.default_rng(at).integers(0, 2, 100))
    assert path.stat().st_mode & 0o077 == 0
    columns = [row[1] for row in sqlite3.connect(path).execute("PRAGMA table_info(submission)")]
    assert columns == ["task", "seq", "submitter", "hash", "shown", "improved", "submitted"]
    assert board.optimism("t") == pytest.approx(np.sqrt(2 * np.log(10) / 100) / 2)


def test_concurrent_submissions_are_serialised(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    GuardedBoard(path).create("t", np.zeros(200, dtype=np.int64), budget=1000)

    def work(worker: int) -> None:
        board = GuardedBoard(path)
        rng = np.random.default_rng(worker)
        for _ in range(20):
            board.submit("t", f"w{worker}", rng.integers(0, 2, 200))
        board.close()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = GuardedBoard(path).entries("t")
    assert [entry["seq"] for entry in entries] == list(range(80))
    shown = [entry["shown"] for entry in entries]
    assert all(later <= earlier for earlier, later in pairwise(shown))


def test_ladder_by_hand() -> None:
    best = np.array([1.0, 0.0, 1.0, 0.0])
    assert ladder(best, None, 1.0) == ladder(best, None, 0.3)
    assert ladder(np.zeros(4), best, 0.5).improved  # .5 better, standard error .289
    assert not ladder(np.array([0.0, 0.0, 1.0, 0.0]), best, 0.5).improved  # .25 better, standard error .25
    assert ladder(np.array([0.0, 0.0, 1.0, 0.0]), best, 0.5).shown == 0.5


def test_thresholdout_keeps_an_overfitted_analyst_honest(tmp_path: Path) -> None:
    """Freedman's paradox (Dwork et al. 2015): features chosen on the development split look good there and are worthless elsewhere."""
    rng = np.random.default_rng(4)
    n, features = 1000, 500
    dev_x, dev_y = rng.choice([-1, 1], (n, features)), rng.choice([-1, 1], n)
    hid_x, hid_y = rng.choice([-1, 1], (n, features)), rng.choice([-1, 1], n)
    signs = np.sign(dev_y @ dev_x)
    strong = np.argsort(-np.abs(dev_y @ dev_x))[:50]
    development = float((np.sign((dev_x * signs)[:, strong].sum(1) + 0.5) == dev_y).mean())
    predictions = (np.sign((hid_x * signs)[:, strong].sum(1) + 0.5) > 0).astype(np.int64)
    assert development >= 0.65
    board = GuardedBoard(tmp_path / "guard.db")
    board.create("t", (hid_y > 0).astype(np.int64), question_budget=2)
    answers = [board.ask("t", "ann", "accuracy", development, np.ones(n, dtype=bool), predictions) for _ in range(40)]
    spent = sqlite3.connect(tmp_path / "guard.db").execute("SELECT SUM(overfit) FROM question").fetchone()[0]
    told = [answer for answer in answers if answer != development]
    assert spent == len(told) == 2
    assert all(abs(answer - 0.5) < 0.15 for answer in told)
    assert answers[-1] == development  # the budget is spent: only the asker's own number comes back


def test_thresholdout_returns_the_development_value_while_both_agree() -> None:
    rng = np.random.default_rng(0)
    same = [thresholdout(0.8, 0.8, 10_000, rng).overfit for _ in range(500)]
    apart = [thresholdout(0.9, 0.5, 10_000, rng).overfit for _ in range(500)]
    assert np.mean(same) < 0.25  # the noise that protects the answers disagrees by itself now and then
    assert np.mean(apart) > 0.95
