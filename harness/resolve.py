"""Sequential seeds: after each look, more seeds only for what a pair of methods that can't be told apart, or an open claim, is about
(`--until-resolved`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from db.ledger import Ledger
from harness.identity import canonical_json
from harness.planned import Plan
from harness.suite import LoadedSuite
from reports.boards import Board, Question, load_boards
from reports.claims.sequential import open_claims
from reports.stats.sequential import Look, decided, looks

What = Literal["pairs", "claims", "both"]  #: what must be decided
Config = tuple[str, str, str, str]  #: task, its params, method, its params (canonical JSON)


@dataclass(frozen=True, slots=True)
class Undecided:
    """What a look left open: configurations that need more seeds, the pairs of names per board, and claims by their ids."""

    configs: frozenset[Config]
    pairs: Mapping[str, Sequence[tuple[str, str]]]
    claims: Sequence[str] = ()

    @property
    def count(self) -> int:
        return sum(map(len, self.pairs.values()))


def schedule(loaded: LoadedSuite, max_seeds: int) -> list[Look]:
    """The looks of a suite: from its smallest number of seeds to `max_seeds`."""
    first = min(len(entry.seeds or loaded.suite.seeds) for entry in loaded.suite.tasks)
    return looks(max(first, 2), max(max_seeds, first, 2))


def with_seeds(loaded: LoadedSuite, count: int) -> LoadedSuite:
    """The suite with `count` seeds everywhere: each task's own seeds, continued after its largest one."""

    def extended(seeds: list[int]) -> list[int]:
        return (seeds + list(range(max(seeds) + 1, max(seeds) + 1 + count)))[:count]

    suite = loaded.suite
    tasks = [entry.model_copy(update={"seeds": extended(entry.seeds or suite.seeds)}) for entry in suite.tasks]
    return replace(loaded, suite=suite.model_copy(update={"tasks": tasks}))


def undecided(ledger: Ledger, plan: Plan, levels: list[Look], what: What = "both") -> Undecided:
    """Pairs of the plan's configurations that no look so far has told apart, by primary metric, on the plan's seeds in order; and claims
    about the plan's configurations that no look has closed. Each of the two has an error rate of its own."""
    wanted: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    seeds: dict[tuple[str, str], dict[int, None]] = {}
    for trial in plan.trials:
        task = (trial.task, canonical_json(trial.task_params))
        wanted.setdefault(task, {})[trial.method, canonical_json(trial.method_params)] = trial.family
        seeds.setdefault(task, {})[trial.seed] = None
    configs: set[Config] = set()
    pairs: dict[str, list[tuple[str, str]]] = {}
    claims: list[str] = []
    planned = {(*task, *method) for task, methods in wanted.items() for method in methods}
    for family in sorted({family for methods in wanted.values() for family in methods.values()}):
        for board in load_boards(ledger, Question(family)) if what != "claims" else ():
            task = (board.task, board.task_params)
            if task in wanted:
                _open_pairs(board, set(wanted[task]), list(seeds[task]), levels, configs, pairs)
        in_order = {task: list(found) for task, found in seeds.items()}
        for claim in open_claims(ledger, family, planned, in_order, levels) if what != "pairs" else ():
            claims.append(claim.claim)
            configs |= claim.configs
    return Undecided(frozenset(configs), pairs, claims)


def only(plan: Plan, configs: frozenset[Config]) -> Plan:
    """The plan with nothing to do but trials of these configurations."""

    def config(method: str, task: str, task_params: Mapping[str, object], method_params: Mapping[str, object]) -> Config:
        return task, canonical_json(task_params), method, canonical_json(method_params)

    todo = [
        planned
        for planned in plan.todo
        if config(planned.trial.method, planned.trial.task, planned.trial.task_params, planned.trial.method_params) in configs
    ]
    keep = {planned.trial.key for planned in todo} | plan.done | plan.failed
    return replace(plan, todo=todo, trials=[trial for trial in plan.trials if trial.key in keep])


def _open_pairs(
    board: Board,
    wanted: set[tuple[str, str]],
    seeds: Sequence[int],
    levels: list[Look],
    configs: set[Config],
    pairs: dict[str, list[tuple[str, str]]],
) -> None:
    rows = [index for index, entry in enumerate(board.entries) if (entry.method, entry.params) in wanted]
    column = {seed: index for index, seed in enumerate(board.seeds)}
    source = board.values[board.primary.id]
    values = np.full((len(rows), len(seeds)), np.nan)
    for at, seed in enumerate(seeds):
        if seed in column:
            values[:, at] = source[rows, column[seed]]
    closed = decided(values, levels)
    for first in range(len(rows)):
        for second in range(first + 1, len(rows)):
            if not closed[first, second]:
                one, other = board.entries[rows[first]], board.entries[rows[second]]
                pairs.setdefault(board.name, []).append((one.name, other.name))
                for entry in (one, other):
                    configs.add((board.task, board.task_params, entry.method, entry.params))
