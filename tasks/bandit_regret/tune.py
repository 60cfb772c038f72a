"""Tunes every method on its own seeds and records what was tried: `python -m tasks.bandit_regret.tune`.

Each method gets the same budget: five seeds (0 to 4) at half the horizon and at most twelve configurations; the least mean of the primary
metric wins, the first of equals. Results are reported on seeds from 2000 on. The record `tuned.json` beside this file holds grids, scores
and choices; `--suite` prints the suite `bandit_tuned`, in which every method has a row with the constants of its theory and a tuned one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.api import Context, Method, Task
from tasks.bandit_regret.grids import MOST_CONFIGURATIONS, TUNING_SEEDS, TUNINGS, Grid, Tuning
from tasks.bandit_regret.online_regression import OnlineRegression, Stream
from tasks.bandit_regret.protocol import BanditMethod, Problem
from tasks.bandit_regret.settings import RECORD
from tasks.registry import REGISTRY, resolve
from tasks.testing import LocalContext

REPORTED = 2000  #: the first seed that results are reported on; nobody had looked at these when claims and grids were fixed


def tune(tuning: Tuning, name: str, context: Context) -> dict[str, Any]:
    """Spend one method's budget on one problem; the record says what was tried, what it scored and what is used from now on."""
    task_class, method_class = _classes(tuning, name)
    task = resolve(task_class, tuning.params, tuning.task)
    half = _size(task, tuning.size) // 2
    small = resolve(task_class, {**tuning.params, tuning.size: half}, tuning.task)
    tried: list[dict[str, Any]] = []
    configurations = tuning.methods[name].configurations()
    if len(configurations) > MOST_CONFIGURATIONS:
        raise ValueError(f"{name} on {tuning.task} has {len(configurations)} configurations; the budget is {MOST_CONFIGURATIONS}.")
    for params in configurations:
        method = resolve(method_class, params, name)
        metric = task_class.primary_metric().id
        values = [small.run(method, seed, context).metrics[metric] for seed in TUNING_SEEDS]
        mean = sum(values) / len(values)
        tried.append({"params": params, "score": mean if math.isfinite(mean) else None})
    finite = [one for one in tried if one["score"] is not None]
    best = min(finite, key=lambda one: one["score"]) if finite else tried[0]
    theory, told = theory_of(task, method_class)
    return {
        "task": tuning.task,
        "task_params": dict(tuning.params),
        "method": name,
        "tuned_at": {tuning.size: half, "seeds": list(TUNING_SEEDS)},
        "metric": task_class.primary_metric().id,
        "tried": tried,
        "tuned": best["params"],
        "theory": theory if isinstance(theory, str) else {**_defaults(method_class, tuning.methods[name]), **theory},
        "told": told,
    }


class Asked(dict[str, float]):
    """Facts that remember which of them were read, or found with `in`; `get` leaves no trace."""

    def __init__(self, facts: Mapping[str, float]) -> None:
        super().__init__(facts)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        if found := super().__contains__(name):
            self.names.add(str(name))
        return found


def theory_of(task: Task, method: type[Method]) -> tuple[dict[str, Any] | str, list[str]]:
    """The constants of the method's theory on this task ({} where they are its defaults, the reason where there are none) and the facts
    that they were computed from."""
    facts = Asked(task.facts() if hasattr(task, "facts") else {})
    if isinstance(task, OnlineRegression):
        theory = method.theory(Stream(task.dimension, facts, task.link))  # type: ignore[attr-defined]
    elif issubclass(method, BanditMethod):
        fixed = getattr(task, "arm_set", "fixed") == "fixed"
        theory = method.theory(Problem(getattr(task, "arms", 0), getattr(task, "d", 0), fixed, facts))
    else:
        theory = method.theory() if hasattr(method, "theory") else "no theory known here gives constants"
    return theory, [] if isinstance(theory, str) else sorted(facts.names)


def suite_rows(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Task entries of the suite, one per problem."""
    for tuning in TUNINGS:
        mine = [one for one in records if one["task"] == tuning.task and one["task_params"] == dict(tuning.params)]
        if not mine:
            continue
        entry: dict[str, Any] = {"task": f"bandit_regret/{tuning.task}", "params": dict(tuning.params)}
        if tuning.count != 20:
            entry["seeds"] = {"start": REPORTED, "count": tuning.count}
        entry["methods"] = [
            {"method": one["method"], "zip": [point for point in _distinct(one) if point]}
            if any(_distinct(one))
            else {"method": one["method"]}
            for one in mine
        ]
        yield entry


def _distinct(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    points = [record["tuned"]] if isinstance(record["theory"], str) else [record["theory"], record["tuned"]]
    return [point for i, point in enumerate(points) if point not in points[:i]]


def suite_text(records: list[dict[str, Any]]) -> str:
    """The suite as YAML, one line per method."""
    lines = [
        "# Written by `python -m tasks.bandit_regret.tune --suite`; tasks/bandit_regret/tuned.json says what was tried. Don't edit.",
        "name: bandit_tuned",
        "description: Each bandit method with the constants of its theory (first) and tuned on seeds 0 to 4 at half the horizon (last)",
        f"seeds: {{start: {REPORTED}, count: 20}}",
        "timeout: 10m",
        "tasks:",
    ]
    for entry in suite_rows(records):
        lines.append(f"  - task: {entry['task']}")
        lines += [f"    {key}: {json.dumps(entry[key])}" for key in ("params", "seeds") if key in entry]
        lines.append("    methods:")
        lines += [f"      - {json.dumps(method)}" for method in entry["methods"]]
    return "\n".join(lines) + "\n"


def _defaults(method: type[Method], grid: Grid) -> dict[str, Any]:
    return {**{key: method.model_fields[key].default for key in grid.sweep}, **grid.fixed}


def _classes(tuning: Tuning, name: str) -> tuple[type[Task], type[Method]]:
    return REGISTRY.task(f"bandit_regret/{tuning.task}"), REGISTRY.method(name, "bandit_regret")


def _size(task: Task, name: str) -> int:
    value = getattr(task, name)
    return int(task.horizon if value is None else value)  # type: ignore[attr-defined]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.bandit_regret.tune", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="tune this task only, and keep the other records")
    parser.add_argument("--suite", action="store_true", help="print the suite made of the record instead of tuning")
    options = parser.parse_args(arguments)
    records: list[dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    if options.suite:
        sys.stdout.write(suite_text(records))
        return
    with tempfile.TemporaryDirectory() as folder:
        context = LocalContext(Path(folder))
        for tuning in TUNINGS:
            if options.only not in ("", tuning.task):
                continue
            for name in tuning.methods:
                new = tune(tuning, name, context)
                same = [i for i, one in enumerate(records) if all(one[key] == new[key] for key in ("task", "task_params", "method"))]
                if same:
                    records[same[0]] = new
                else:
                    records.append(new)
                RECORD.write_text("[\n" + ",\n".join(json.dumps(one) for one in records) + "\n]\n")
                print(f"{tuning.task} {json.dumps(dict(tuning.params))}: {name} {json.dumps(new['tuned'])}", file=sys.stderr)


if __name__ == "__main__":
    main()
