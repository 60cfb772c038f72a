"""The guarded board against the attacks it is there for, on random labels where every error below one half is an illusion."""

from __future__ import annotations

import os
import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from db import open_ledger
from db.errors import LedgerUnavailable
from db.ledger import Ledger
from reports.errors import BadQuestion, BudgetSpent, ReportError
from reports.guard.board import GuardedBoard, Receipt
from reports.guard.mechanisms import ladder, thresholdout
from reports.guard.page import optimism
from reports.guard.predictions import read_predictions, whole

N = 500


@pytest.fixture(autouse=True)
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board's secret noise comes from the operating system; here it repeats."""
    monkeypatch.setattr(os, "urandom", np.random.default_rng(0).bytes)


def made(folder: Path, ledger: Ledger, labels: object, development: object = (0, 1), **options: int) -> GuardedBoard:
    """A board `t` over those labels."""
    board = GuardedBoard(folder / "guard.db", ledger, create=True)
    board.create("t", "toy/task", {}, np.asarray(labels), np.asarray(development), **{"budget": 100, "share": 100, **options})
    return board


@pytest.mark.parametrize("seed", range(3))
def test_who_keeps_only_what_moved_the_ladder_gets_no_further_than_chance(tmp_path: Path, empty_ledger: Ledger, seed: int) -> None:
    """Beside Blum and Hardt's majority vote over all submissions (tests/harness/test_board_cli.py)."""
    labels = np.random.default_rng(seed).integers(0, 2, N)
    board = made(tmp_path, empty_ledger, labels, budget=401, share=401)
    rng = np.random.default_rng([seed, 1])
    moved = [guess for guess in rng.integers(0, 2, (400, N)) if board.submit("t", "eve", guess).improved]
    assert board.submit("t", "eve", (np.mean(moved, axis=0) > 0.5).astype(np.int64)).shown >= 0.42


def test_a_real_improvement_is_shown_rounded_and_logged(tmp_path: Path, empty_ledger: Ledger) -> None:
    labels = np.random.default_rng(0).integers(0, 10, N)
    board = made(tmp_path, empty_ledger, labels)
    noisy = labels.copy()
    noisy[:203] = (noisy[:203] + 1) % 10
    assert board.submit("t", "ann", noisy).shown == 0.41
    better = labels.copy()
    better[:51] = (better[:51] + 1) % 10
    assert board.submit("t", "bob", better, method="toy/b", note="ours") == Receipt(0.1, True, 98, 98, False)
    slightly = better.copy()
    slightly[0] = labels[0]
    assert board.submit("t", "bob", slightly).improved is False
    rows = empty_ledger.submissions("t")
    assert [(row.number, row.submitter, row.displayed, row.released, row.budget_left) for row in rows] == [
        (1, "ann", 0.41, True, 99.0),
        (2, "bob", 0.1, True, 98.0),
        (3, "bob", 0.1, False, 97.0),
    ]
    assert (rows[1].method, rows[1].note, rows[1].mechanism, rows[1].threshold) == ("toy/b", "ours", "ladder", 0.01)


def test_submitting_the_same_predictions_again_costs_nothing(tmp_path: Path, empty_ledger: Ledger) -> None:
    board = made(tmp_path, empty_ledger, [0, 1, 1, 0], budget=2)
    first = board.submit("t", "ann", [0, 1, 0, 0])
    again = board.submit("t", "eve", [0, 1, 0, 0])
    assert (again.shown, again.improved, again.board_left, again.again) == (first.shown, True, 1, True)
    board.submit("t", "ann", [1, 1, 1, 1])
    with pytest.raises(BudgetSpent, match="budget of the board t is spent"):
        board.submit("t", "ann", [0, 0, 0, 0])
    assert board.submit("t", "ann", [0, 1, 0, 0]).shown == first.shown
    assert len(empty_ledger.submissions("t")) == 2


def test_one_submitter_can_not_spend_the_whole_budget(tmp_path: Path, empty_ledger: Ledger) -> None:
    board = made(tmp_path, empty_ledger, np.zeros(20), budget=5, share=2)
    guesses = np.random.default_rng(0).integers(0, 2, (6, 20))
    assert [board.submit("t", "ann", guess).left for guess in guesses[:2]] == [1, 0]
    with pytest.raises(BudgetSpent, match="ann has made all 2 submissions"):
        board.submit("t", "ann", guesses[2])
    assert [board.submit("t", name, guess).left for name, guess in zip("bbc", guesses[2:5], strict=True)] == [1, 0, 0]
    with pytest.raises(BudgetSpent, match="everybody together"):
        board.submit("t", "c", guesses[5])


def test_wrong_questions_get_one_sentence(tmp_path: Path, empty_ledger: Ledger) -> None:
    board = made(tmp_path, empty_ledger, [0, 1, 1])
    refused = {
        "board has 3 rows .* not 2 predictions": [0, 1],
        "not an array of shape": [[0, 1, 1]],
        "1 predictions are not finite .* row 1": [0, np.nan, 1],
        "that of row 2 .* is 0.5": [0, 1, 0.5],
        "have the type": ["a", "b", "c"],
    }
    for text, predictions in refused.items():
        with pytest.raises(BadQuestion, match=text):
            board.submit("t", "ann", predictions)
    with pytest.raises(BadQuestion, match="No guarded board is called 'u'; there are: t"):
        board.submit("u", "ann", [0, 1])
    with pytest.raises(BadQuestion, match="name of a submitter"):
        board.submit("t", " ", [0, 1, 1])
    with pytest.raises(BadQuestion, match="already"):
        board.create("t", "toy/task", {}, np.array([0, 1, 1]), np.array([0]))
    with pytest.raises(BadQuestion, match="can't name a board"):
        board.create("a b", "toy/task", {}, np.array([0, 1, 1]), np.array([0]))
    with pytest.raises(BadQuestion, match="at least two"):
        board.create("v", "toy/task", {}, np.array([1]), np.array([0]))
    with pytest.raises(BadQuestion, match="predicted for no row"):
        board.ask("t", "ann", [0, 1, 1], [0, 1], predicted=7)
    assert empty_ledger.submissions() == []
    assert board.submit("t", "ann", [0, 1, 1]).left == 99  # what was refused cost nothing


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", "0\none\n", "not one number per row: could not convert"),
        ("a.json", '{"a": 1}', "not one number per row"),
        ("a.json", "[1, 2", "not one number per row"),
        ("a.npy", "no array", "can't be read"),
        ("a.csv", "0,1\n1,1\n", "not one number per row"),
    ],
)
def test_files_that_hold_no_predictions_are_refused(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadQuestion, match=complaint):
        read_predictions(tmp_path / name)
    with pytest.raises(BadQuestion, match="can't be read: No such file"):
        read_predictions(tmp_path / "absent.npy")


def test_predictions_are_read_from_three_kinds_of_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([3, 1], dtype=np.uint8))
    (tmp_path / "a.json").write_text("[3, 1]")
    (tmp_path / "a.csv").write_text("prediction\n3\n1\n\n")
    for name in ("a.npy", "a.json", "a.csv"):
        assert whole(read_predictions(tmp_path / name), 2).tolist() == [3, 1]
    np.save(tmp_path / "o.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(BadQuestion, match="can't be read"):  # unpickling would run the submitter's code
        read_predictions(tmp_path / "o.npy")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_the_store_is_private_and_the_ledger_holds_only_what_was_shown(tmp_path: Path) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 100)
    with open_ledger(str(tmp_path / "ledger.db"), create=True) as ledger, made(tmp_path, ledger, labels) as board:
        for at in range(10):
            board.submit("t", "ann", np.random.default_rng(at).integers(0, 2, 100))
        for path in tmp_path.glob("guard.db*"):
            assert path.stat().st_mode & 0o077 == 0, path
        held = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
        assert labels.tobytes() not in held
        assert labels.astype(np.uint8).tobytes() not in held
        (tmp_path / "guard.db").chmod(0o640)
        with pytest.raises(ReportError, match=r"Others may read the hidden labels .* chmod 600"):
            GuardedBoard(tmp_path / "guard.db", ledger)
        with pytest.raises(ReportError, match="no guarded boards at"):
            GuardedBoard(tmp_path / "none.db", ledger)
        (tmp_path / "ledger.db").chmod(0o600)
        with pytest.raises(ReportError, match="does not hold guarded boards"):
            GuardedBoard(tmp_path / "ledger.db", ledger)


class _Away:
    """A ledger that can't be written for a while."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.away = ledger, False
        self.query, self.url = ledger.query, ledger.url

    def record_submission(self, row: object) -> int:
        if self.away:
            raise LedgerUnavailable("the disk is full")
        return self.ledger.record_submission(row)  # type: ignore[arg-type]


def test_an_answer_that_the_ledger_could_not_take_is_free_to_see_again_and_logged_later(tmp_path: Path, empty_ledger: Ledger) -> None:
    ledger = _Away(empty_ledger)
    board = made(tmp_path, ledger, np.zeros(50))  # type: ignore[arg-type]
    guesses = np.random.default_rng(0).integers(0, 2, (3, 50))
    board.submit("t", "ann", guesses[0])
    ledger.away = True
    with pytest.raises(LedgerUnavailable):
        board.submit("t", "ann", guesses[1])
    ledger.away = False
    assert board.submit("t", "ann", guesses[1]).again
    board.submit("t", "ann", guesses[2])
    assert [row.number for row in empty_ledger.submissions("t")] == [1, 2, 3]


def test_the_log_of_another_board_with_that_name_is_not_written_over(tmp_path: Path, empty_ledger: Ledger) -> None:
    with open_ledger(str(tmp_path / "other.db"), create=True) as other:
        first = made(tmp_path, other, np.zeros(50))
        first.submit("t", "ann", np.ones(50))
        (tmp_path / "two").mkdir()
        second = made(tmp_path / "two", empty_ledger, np.zeros(50))
        second.submit("t", "bob", np.ones(50))
        with pytest.raises(BadQuestion, match="submissions to another board t; choose another name"):
            GuardedBoard(tmp_path / "three.db", other, create=True).create("t", "toy/task", {}, np.zeros(5), np.zeros(5))
        with pytest.raises(BadQuestion, match="name the board's own with --db"):
            GuardedBoard(tmp_path / "guard.db", empty_ledger).submit("t", "ann", np.zeros(50))
        assert [row.submitter for row in empty_ledger.submissions("t")] == ["bob"]


def test_concurrent_submissions_are_serialised_and_logged_in_order(tmp_path: Path) -> None:
    url = str(tmp_path / "ledger.db")
    with open_ledger(url, create=True) as ledger:
        made(tmp_path, ledger, np.zeros(200, dtype=np.int64), budget=1000, share=1000)
    failed: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            with open_ledger(url, read_only=False) as ledger, GuardedBoard(tmp_path / "guard.db", ledger) as board:
                for guess in np.random.default_rng(worker).integers(0, 2, (15, 200)):
                    board.submit("t", f"w{worker}", guess)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with open_ledger(url) as ledger:
        rows = ledger.submissions("t")
    assert [(row.number, row.id.split("-")[1], row.budget_left) for row in rows] == [(at, str(at), 1000.0 - at) for at in range(1, 61)]
    assert all(later.displayed <= earlier.displayed for earlier, later in pairwise(rows))  # type: ignore[operator]
    with sqlite3.connect(tmp_path / "guard.db") as store:
        assert store.execute("SELECT COUNT(*) FROM best").fetchone() == (1,)


def test_ladder_by_hand() -> None:
    best = np.array([1.0, 0.0, 1.0, 0.0])
    assert ladder(best, None, 1.0) == ladder(best, None, 0.3)
    assert ladder(np.zeros(4), best, 0.5).improved  # .5 better, standard error .289
    assert not ladder(np.array([0.0, 0.0, 1.0, 0.0]), best, 0.5).improved  # .25 better, standard error .25
    assert ladder(np.array([0.0, 0.0, 1.0, 0.0]), best, 0.5).shown == 0.5


def test_luck_of_an_open_board_against_the_best_of_simulated_coins() -> None:
    coins = np.random.default_rng(0).binomial(N, 0.5, (400, 200)) / N
    assert 0.5 - coins.min(axis=1).mean() <= optimism(N, 200) <= 1.3 * (0.5 - coins.min(axis=1).mean())


def test_thresholdout_keeps_an_overfitted_analyst_honest(tmp_path: Path, empty_ledger: Ledger) -> None:
    """Freedman's paradox (Dwork et al. 2015): features chosen on the development split look good there and are worthless elsewhere."""
    rng = np.random.default_rng(4)
    n, features = 1000, 500
    dev_x, dev_y = rng.choice([-1, 1], (n, features)), rng.choice([-1, 1], n)
    hid_x, hid_y = rng.choice([-1, 1], (n, features)), rng.choice([-1, 1], n)
    signs = np.sign(dev_y @ dev_x)
    strong = np.argsort(-np.abs(dev_y @ dev_x))[:50]

    def predicted(x: np.ndarray) -> np.ndarray:
        return (np.sign((x * signs)[:, strong].sum(1) + 0.5) > 0).astype(np.int64)

    board = made(tmp_path, empty_ledger, hid_y > 0, dev_y > 0, questions=2)
    development = float((predicted(dev_x) == (dev_y > 0)).mean())
    assert development >= 0.65
    asked = [predicted(hid_x) for _ in range(40)]
    for at, predictions in enumerate(asked):
        predictions[at] ^= 1  # the same question again would be answered from the log
    answers = [board.ask("t", "ann", predictions, predicted(dev_x)) for predictions in asked]
    told = [answer.value for answer in answers if answer.from_board]
    assert len(told) == 2
    assert all(abs(value - 0.5) < 0.15 for value in told)
    assert (answers[-1].value, answers[-1].left) == (development, 0)  # the budget is spent: only the asker's own number comes back
    rows = empty_ledger.submissions("t")
    assert [(row.mechanism, row.displayed, row.released) for row in rows] == [
        ("thresholdout", answer.value, answer.from_board) for answer in answers
    ]
    assert board.ask("t", "bob", asked[0], predicted(dev_x)).value == answers[0].value
    assert len(empty_ledger.submissions("t")) == 40
    assert board.submit("t", "ann", asked[0]).board_left == 99  # questions and submissions have budgets of their own


def test_a_question_about_one_predicted_class_counts_its_rows_only(tmp_path: Path, empty_ledger: Ledger) -> None:
    board = made(tmp_path, empty_ledger, [0, 1, 1, 0], [0, 0, 1], questions=0)
    answer = board.ask("t", "ann", [0, 1, 1, 1], [1, 0, 1], predicted=1)
    assert answer.value == 0.5  # of the two development rows called 1, one is
    assert empty_ledger.submissions("t")[0].threshold == pytest.approx(4 / np.sqrt(3))  # three board rows are called 1


def test_thresholdout_returns_the_development_value_while_both_agree() -> None:
    answered = [
        [thresholdout(development, 0.5 + agree, 10_000, np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])).overfit
         for seed in range(500)]
        for development, agree in ((0.8, 0.3), (0.9, 0.0))
    ]  # fmt: skip
    assert np.mean(answered[0]) < 0.25  # the noise that protects the answers disagrees by itself now and then
    assert np.mean(answered[1]) > 0.95


def test_the_threshold_stays_until_a_question_finds_the_splits_apart() -> None:
    """Two questions at one distance from the threshold's noise: with the same `period` its Laplace draw is the same."""
    close = [thresholdout(0.5 + 0.04, 0.5, 10_000, np.random.default_rng(7), np.random.default_rng(at)).overfit for at in range(4000)]
    limit = 0.04 + np.random.default_rng(7).laplace(0, 0.02)
    expected = np.mean([np.random.default_rng(at).laplace(0, 0.04) + limit < 0.04 for at in range(4000)])
    assert np.mean(close) == pytest.approx(expected, abs=1e-12)
