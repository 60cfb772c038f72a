"""`assay board`: guarded leaderboards over hidden labels (paper 213). For the operator's account: the scorer's store holds labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_document, print_json, stderr, stdout
from reports.guard import BUDGET, QUESTIONS, SHARE

DEFAULT_GUARD = "assay-guard.db"
GuardOption = Annotated[
    Path,
    typer.Option("--guard", envvar="ASSAY_GUARD", help="The scorer's store: hidden labels, readable by its owner only.", show_envvar=True),
]
BoardArgument = Annotated[str, typer.Argument(metavar="BOARD", help="The name of a guarded board.")]
SubmitterOption = Annotated[str, typer.Option("--submitter", envvar="ASSAY_SUBMITTER", help="Who submits.", show_envvar=True)]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Guarded leaderboards: hidden labels, a budget of submissions, answers that can't be climbed.")
    for command in (create, submit, ask, show, log):
        group.command()(command)
    group.command("list")(list_)
    app.add_typer(group, name="board", no_args_is_help=True)


def create(
    board: BoardArgument,
    task: Annotated[str, typer.Argument(help="A task that keeps a board split, such as bandit_regret/adaptive-holdout.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for what submitters get; must not exist or be empty.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="A parameter of the task, as NAME=VALUE.")] = None,
    budget: Annotated[int, typer.Option(min=1, help="Submissions by everybody together.")] = BUDGET,
    per_submitter: Annotated[int, typer.Option(min=1, help="Submissions by one submitter.")] = SHARE,
    questions: Annotated[int, typer.Option(min=0, help="Answers to questions that may come from the hidden rows.")] = QUESTIONS,
    step: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Shown errors are rounded to this; an improvement is at least so large.")
    ] = 0.01,
    guard: GuardOption = Path(DEFAULT_GUARD),
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Draw a task's board split from a fresh secret, hide its labels in the scorer's store, and write what submitters get."""
    from harness.boards import draw_split, write_public
    from reports.guard.board import GuardedBoard

    drawn, split = draw_split(task, param or [])
    with open_ledger(db, create=True) as ledger, GuardedBoard(guard, ledger, create=True) as scorer:
        scorer.check_free(board)
        files = write_public(to, board, drawn, split)
        scorer.create(
            board, drawn.id(), drawn.params(), split.board_labels, split.development_labels,
            step=step, budget=budget, share=per_submitter, questions=questions,
        )  # fmt: skip
    if as_json:
        print_json({"board": board, "rows": len(split.board_labels), "files": [str(path) for path in files]})
        return
    for path in files:
        print(path)
    stderr().print(f"Board {board}: {len(split.board_labels)} hidden labels in {guard}. Give submitters the folder {to}.", markup=False)


def submit(
    board: BoardArgument,
    predictions: Annotated[list[Path], typer.Argument(help="One class index per row: .npy, .json, or a text with one number per line.")],
    submitter: SubmitterOption,
    method: Annotated[str, typer.Option(help="Id of the submitted method, where the ledger's catalogue has it.")] = "",
    note: Annotated[str, typer.Option(help="What to remember about the submission.")] = "",
    guard: GuardOption = Path(DEFAULT_GUARD),
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Submit predictions of a board's hidden rows; shows the best error so far, which changes only for a clear improvement.

    Exit code 6 when the budget is spent. The same predictions again are free.
    """
    from harness.boards import known_method
    from reports.guard.board import GuardedBoard
    from reports.guard.predictions import read_predictions, whole

    done: list[dict[str, Any]] = []
    with open_ledger(db, read_only=False) as ledger, GuardedBoard(guard, ledger) as scorer:
        rows = scorer.facts(board).rows
        given = [(path, whole(read_predictions(path), rows)) for path in predictions]  # a bad file is refused before any is scored
        named = known_method(ledger, method) if method else None
        try:
            for path, values in given:
                receipt = scorer.submit(board, submitter, values, method=named, note=note)
                done.append({"file": str(path), "shown": receipt.shown, "improved": receipt.improved, "again": receipt.again,
                             "left": receipt.left, "board_left": receipt.board_left})  # fmt: skip
                if not as_json:
                    _tell(path, receipt.shown, receipt.improved, receipt.again, receipt.left)
        finally:
            if as_json and done:
                print_json(done)


def _tell(path: Path, shown: float, improved: bool, again: bool, left: int) -> None:
    verdict = "a new best" if improved else "not better than the best by more than chance"
    if again:
        verdict = "submitted before, for free; the answer was"
    stdout().print(
        f"{path}: {verdict}; error shown {shown:.4g}; {left} submissions left{' (seen before: free)' if again else ''}", markup=False
    )


def ask(
    board: BoardArgument,
    predictions: Annotated[Path, typer.Option("--predictions", help="Class indices for the board's rows.")],
    development: Annotated[Path, typer.Option("--development", help="Class indices for the development rows, by the same method.")],
    submitter: SubmitterOption,
    predicted: Annotated[int | None, typer.Option(help="Only rows for which this class is predicted.")] = None,
    note: Annotated[str, typer.Option(help="What to remember about the question.")] = "",
    guard: GuardOption = Path(DEFAULT_GUARD),
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Ask for an accuracy: the development split's while the hidden rows agree with it (Thresholdout), else theirs and noise, at a cost."""
    from reports.guard.board import GuardedBoard
    from reports.guard.predictions import read_predictions

    with open_ledger(db, read_only=False) as ledger, GuardedBoard(guard, ledger) as scorer:
        answer = scorer.ask(board, submitter, read_predictions(predictions), read_predictions(development), predicted=predicted, note=note)
    if as_json:
        print_json({"accuracy": answer.value, "from_board": answer.from_board, "left": answer.left})
        return
    source = "from the hidden rows, with noise" if answer.from_board else "the development split's own"
    stdout().print(f"accuracy {answer.value:.4f}, {source}; {answer.left} answers from the hidden rows left", markup=False)
    if not answer.from_board and not answer.left:
        stderr().print("The budget of questions is spent: answers say nothing about the hidden rows any more.", markup=False)


def show(board: BoardArgument, guard: GuardOption = Path(DEFAULT_GUARD), db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Show a board: best error, how it came down, budgets."""
    from reports.guard.board import GuardedBoard
    from reports.guard.page import board_document

    with open_ledger(db) as ledger, GuardedBoard(guard, ledger) as scorer:
        document = board_document(scorer.facts(board), ledger.submissions(board))
    print_document(document, "json" if as_json else "terminal")


def log(board: BoardArgument, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """List every answer of a board, from the ledger alone (the view `submissions`)."""
    from reports.errors import NothingToReport
    from reports.guard.page import log_document

    with open_ledger(db) as ledger:
        rows = ledger.submissions(board)
        shown = ledger.url
    if not rows:
        raise NothingToReport(f"The ledger {shown} holds no submission to a board {board!r}.")
    print_document(log_document(board, rows), "json" if as_json else "terminal")


def list_(guard: GuardOption = Path(DEFAULT_GUARD), db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """List the boards of the scorer's store."""
    from rich.table import Table

    from reports.guard.board import GuardedBoard

    with open_ledger(db) as ledger, GuardedBoard(guard, ledger) as scorer:
        facts = [scorer.facts(name) for name in scorer.names()]
    if as_json:
        print_json([{"board": one.name, "task": one.task, "params": dict(one.params), "rows": one.rows, "budget": one.budget,
                     "per_submitter": one.share, "questions": one.questions, "step": one.step, "created": one.created}
                    for one in facts])  # fmt: skip
        return
    table = Table("board", "task", box=None, header_style="bold", pad_edge=False)
    for title in ("hidden rows", "budget", "each", "questions"):
        table.add_column(title, justify="right")
    for one in facts:
        table.add_row(one.name, one.task, *(str(value) for value in (one.rows, one.budget, one.share, one.questions)))
    stdout().print(table)
