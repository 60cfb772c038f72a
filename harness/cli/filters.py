"""Options that leaderboard, report, claims and compare share: which results are meant, and how much each task weighs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reports.errors import BadQuestion

if TYPE_CHECKING:
    from reports.questions import Filter
    from reports.stats.multiplicity import Correction

WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE (or !=, <, <=, >, >=) on a param, method, task or seed; may be repeated, all must hold."),
]
TagOption = Annotated[list[str] | None, typer.Option(help="Only trials in the plan of a run with this tag; may be repeated.")]
SinceOption = Annotated[str, typer.Option(help="Only trials that finished on or after this date or time (UTC).")]
WeightsOption = Annotated[
    str, typer.Option(help="Weights of tasks in the board across tasks: TASK=2,OTHER=0.5 or a YAML, JSON or CSV file; others weigh 1.")
]
CorrectionOption = Annotated[
    str, typer.Option(help="For asking many questions at once: holm (no false finding) or bh (false discovery rate).")
]


def filter_of(where: list[str] | None, tag: list[str] | None, since: str) -> Filter:
    """The filter that the options ask for."""
    from reports.questions import Filter

    return Filter(tuple(where or ()), tuple(tag or ()), since)


def correction_of(name: str) -> Correction:
    """The correction called `name`; BadQuestion otherwise."""
    from reports.stats.multiplicity import CORRECTIONS

    for known in CORRECTIONS:
        if name == known:
            return known
    raise BadQuestion(f"Unknown --correction {name!r}; choose one of {', '.join(CORRECTIONS)}.")


def weights_of(text: str) -> dict[str, float]:
    """Weights by task from `TASK=2,OTHER=0.5` or from a file; BadQuestion names what can't be read."""
    if not text:
        return {}
    path = Path(text)
    found: Any
    if path.suffix in (".yaml", ".yml", ".json", ".csv"):
        try:
            content = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadQuestion(f"--weights {text}: the file can't be read ({error.strerror or error}).") from error
        found = _parsed(content, path)
    else:
        found = dict(part.rpartition("=")[::2] for part in text.split(",") if part)
    if not isinstance(found, dict) or not found:
        raise BadQuestion(f"--weights {text!r} names no task; write TASK=2,OTHER=0.5 or a file with one weight per task.")
    out = {}
    for name, value in found.items():
        try:
            out[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise BadQuestion(f"--weights: the weight of {str(name)!r} is {value!r}, not a number.") from error
    return out


def _parsed(content: str, path: Path) -> Any:
    if path.suffix == ".csv":
        import csv

        rows = [row for row in csv.reader(content.splitlines()) if row]
        if rows and rows[0] == ["task", "weight"]:
            rows = rows[1:]
        if any(len(row) != 2 for row in rows):
            raise BadQuestion(f"--weights {path}: each line holds a task and its weight.")
        return {row[0]: row[1] for row in rows}
    if path.suffix == ".json":
        try:
            return json.loads(content)
        except ValueError as error:
            raise BadQuestion(f"--weights {path} is not JSON: {error}.") from error
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise BadQuestion(f"--weights {path} is not YAML: {str(error).splitlines()[0]}.") from error
