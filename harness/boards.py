"""From a task's board split to a guarded board: draws it from a secret seed and writes what submitters get."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from db.ledger import Ledger
from reports.errors import BadQuestion
from tasks.api import BoardSplit, Task
from tasks.registry import REGISTRY, resolve


def draw_split(task: str, params: Sequence[str]) -> tuple[Task, BoardSplit]:
    """The task with `params` (NAME=VALUE texts) and its board split, drawn from a seed that nobody learns.

    Raises UnknownName, InvalidParams, or BadQuestion for a task that keeps no split.
    """
    cls = REGISTRY.task(task)
    found = resolve(cls, dict(_param(text) for text in params), f"task {task}")
    split = found.board_split(np.random.default_rng(secrets.randbits(256)))
    if split is None:
        raise BadQuestion(f"{task} keeps no board split; a task that does implements `board_split`, as bandit_regret/adaptive-holdout.")
    return found, split


def _param(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadQuestion(f"--param {text!r} is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def write_public(folder: Path, board: str, task: Task, split: BoardSplit) -> list[Path]:
    """Write what submitters get into an empty or new `folder`: the development rows with labels, the board rows without, and a README."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadQuestion(f"{folder} is not an empty folder; name another one with --to.")
    arrays = {"development": split.development, "development_labels": split.development_labels, "board": split.board}
    classes = ", ".join(str(label) for label in np.unique(split.development_labels)[:20])
    text = f"""# Guarded board {board}

Task {task.id()} (version {task.version}), {json.dumps(task.params(), sort_keys=True)}

| file | shape | what |
|---|---|---|
| development.npy | {list(split.development.shape)} | inputs of the development rows |
| development_labels.npy | {list(split.development_labels.shape)} | their classes ({classes}) |
| board.npy | {list(split.board.shape)} | inputs of the board's rows; their labels are hidden |

A submission is one class index per row of board.npy, in its order: a .npy array, a .json list, or a text with one number per line.
The operator runs `assay board submit {board} FILE --submitter NAME`. The error shown is the board's best; it changes only when a
submission beats it by more than one standard error of the difference (Ladder), and submissions are limited.
`assay board ask {board} --predictions FILE --development FILE --submitter NAME` answers with the accuracy on the development rows while
the hidden ones agree with it (Thresholdout).
"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, array in arrays.items():
            paths.append(folder / f"{name}.npy")
            np.save(paths[-1], array, allow_pickle=False)
        paths.append(folder / "README.md")
        paths[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadQuestion(f"The board's files can't be written to {folder}: {error.strerror or error}.") from error
    return paths


def known_method(ledger: Ledger, method: str) -> str:
    """`method` itself if the ledger's catalogue has it; raises BadQuestion otherwise."""
    if not ledger.query("SELECT method FROM methods WHERE method = :method LIMIT 1", {"method": method}).num_rows:
        raise BadQuestion(f"The ledger's catalogue has no method {method!r}; leave --method out, or use --note.")
    return method
