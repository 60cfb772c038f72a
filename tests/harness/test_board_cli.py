"""`assay board` as operators and submitters meet it: a real task, store and ledger; the attack of Blum and Hardt through the command."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from db import open_ledger
from harness.cli import main

N = 500
TASK = "bandit_regret/adaptive-holdout"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ASSAY_DB", "ASSAY_GUARD", "ASSAY_SUBMITTER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def assay(*arguments: str) -> int:
    """Exit code of the command, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


def create(*options: str) -> None:
    assert assay("board", "create", "coins", TASK, "--to", "give", "-p", f"n={N}", "-p", "features=30", *options) == 0


def hidden() -> np.ndarray:
    """The board's labels, read from the scorer's store as only its operator can."""
    with sqlite3.connect("assay-guard.db") as store:
        return np.frombuffer(store.execute("SELECT labels FROM board").fetchone()[0], dtype=np.int64)


@pytest.mark.parametrize("seed", [11, 12])
def test_majority_vote_of_1000_submissions_ends_at_42_percent_where_an_open_board_shows_34(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("harness.boards.secrets.randbits", lambda bits: seed)  # 3.5 % of random labels end at .40 or .41
    create("--budget", "1001", "--per-submitter", "1001")
    guesses = np.random.default_rng([seed, 1]).integers(0, 2, (1000, N))
    files = [str(here / f"{at}.npy") for at in range(1000)]
    for file, guess in zip(files, guesses, strict=True):
        np.save(file, guess)
    capsys.readouterr()
    assert assay("board", "submit", "coins", *files, "--submitter", "eve", "--json") == 0
    shown = np.array([one["shown"] for one in json.loads(capsys.readouterr().out)])
    np.save("vote.npy", (guesses[shown < 0.5].mean(axis=0) > 0.5).astype(np.int64))
    assert assay("board", "submit", "coins", "vote.npy", "--submitter", "eve", "--json") == 0
    (last,) = json.loads(capsys.readouterr().out)
    assert last["shown"] >= 0.42
    assert last["board_left"] == 0

    labels = hidden()
    open_board = (guesses != labels).mean(axis=1)
    vote = (guesses[open_board < 0.5].mean(axis=0) > 0.5).astype(np.int64)
    assert (vote != labels).mean() <= 0.34

    with open_ledger("assay.db") as ledger:
        rows = ledger.query("SELECT COUNT(*) AS n, MIN(displayed) AS least, MAX(number) AS last FROM submissions WHERE board = 'coins'")
    assert rows.to_pylist() == [{"n": 1001, "least": last["shown"], "last": 1001}]
    assert assay("board", "submit", "coins", "0.npy", "--submitter", "eve") == 0  # seen before: free
    np.save("new.npy", 1 - guesses[0])
    assert assay("board", "submit", "coins", "new.npy", "--submitter", "ann") == 6


def test_a_method_that_learned_something_climbs_and_the_log_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create("-p", "signal=10", "-p", "strength=0.5")
    x, y, board = (np.load(here / "give" / f"{name}.npy") for name in ("development", "development_labels", "board"))
    assert (x.shape, y.shape, board.shape) == ((N, 30), (N,), (N, 30))
    weights = (2 * y - 1) @ x
    np.save("constant.npy", np.zeros(N))
    np.save("linear.npy", board @ weights > 0)
    np.save("linear-dev.npy", (x @ weights > 0).astype(int))
    capsys.readouterr()
    assert assay("board", "submit", "coins", "constant.npy", "--submitter", "ann") == 0
    assert assay("board", "submit", "coins", "linear.npy", "--submitter", "bob", "--note", "ten features", "--json") == 0
    text = capsys.readouterr().out
    assert "constant.npy: a new best; error shown" in text
    assert json.loads(text[text.index("[\n") :])[0]["shown"] < 0.25
    asked = ("board", "ask", "coins", "--predictions", "linear.npy", "--development", "linear-dev.npy", "--submitter", "bob")
    assert assay(*asked, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.75
    assert assay(*asked, "--predicted", "1") == 0
    assert "accuracy 0." in capsys.readouterr().out
    assert assay("board", "show", "coins", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    facts = dict(document["sections"][0]["blocks"][0]["items"])
    assert facts["submissions"] == "2 by 2 submitters, 98 left"
    assert facts["questions"].startswith("2, ")
    assert facts["best error shown"].endswith("by bob")
    assert facts["budget"].startswith("100 submissions, 20 by one submitter; 20 answers")
    assert assay("board", "log", "coins") == 0
    assert "ten features" in capsys.readouterr().out
    assert assay("report", "--out", "pages") == 0
    assert "how the shown error came down" in (here / "pages" / "index.html").read_text().lower()
    capsys.readouterr()
    assert assay("board", "list", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["board"], one["task"], one["rows"], one["params"]["signal"]) == ("coins", TASK, N, 10)


def test_two_boards_of_one_task_have_labels_of_their_own(here: Path) -> None:
    create()
    first = hidden()
    (here / "assay-guard.db").rename("kept.db")
    assert assay("board", "create", "more", TASK, "--to", "more", "-p", f"n={N}", "-p", "features=30") == 0
    assert 0.3 < (hidden() != first).mean() < 0.7
    given = b"".join(path.read_bytes() for path in (here / "more").iterdir())
    assert hidden().tobytes() not in given
    assert hidden().astype(np.int8).tobytes() not in given


def test_wrong_input_gets_one_sentence_and_costs_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create()
    np.save("good.npy", np.zeros(N))
    np.save("short.npy", np.zeros(N - 1))
    np.save("nan.npy", np.full(N, np.nan))
    wrong = {
        ("submit", "coins", "good.npy", "short.npy", "--submitter", "a"): f"has {N} rows and needs one prediction for each, not {N - 1}",
        ("submit", "coins", "nan.npy", "--submitter", "a"): f"{N} predictions are not finite",
        ("submit", "coins", "none.npy", "--submitter", "a"): "none.npy can't be read: No such file",
        ("submit", "cons", "good.npy", "--submitter", "a"): "No guarded board is called 'cons'; there are: coins",
        ("submit", "coins", "good.npy", "--submitter", "a", "--method", "x/y"): "catalogue has no method 'x/y'",
        ("create", "coins", TASK, "--to", "new"): "There is a guarded board coins already",
        ("create", "b", TASK, "--to", "give"): "give is not an empty folder",
        ("create", "b", TASK, "--to", "new", "-p", "n=3"): "parameter n=3",
        ("create", "b", "calibration/digits", "--to", "new"): "keeps no board split",
        ("log", "b"): "holds no submission to a board 'b'",
        ("show", "coins", "--guard", "no.db"): "There are no guarded boards at no.db",
    }
    for arguments, sentence in wrong.items():
        capsys.readouterr()
        assert assay("board", *arguments) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert not (here / "new").exists()
    with open_ledger("assay.db") as ledger:
        assert ledger.submissions() == []
