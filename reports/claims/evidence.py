"""The measurements that a claim speaks about: which configurations match its arms, and one value per seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.boards import Board, Metric
from reports.claims.definition import Arm, Definition
from reports.curves import Curve
from reports.stats.distributions import Floats


class Unusable(Exception):
    """The ledger's results can't answer the claim; the text is the reason shown. `attempted`: there are results, but not the right ones."""

    def __init__(self, reason: str, attempted: bool = False) -> None:
        super().__init__(reason)
        self.attempted = attempted


@dataclass(frozen=True, slots=True)
class Material:
    """What the ledger holds about the claims of a family."""

    boards: Mapping[str, Sequence[Board]]  #: by task id
    curves: Mapping[str, Mapping[str, Curve]]  #: by board anchor and metric
    defaults: Mapping[str, Mapping[str, Any]]  #: of method and task params, by method or task id


@dataclass(slots=True)
class Selection:
    """Boards that match the claim's task params, in a fixed order, and the trials that were used."""

    definition: Definition
    material: Material
    boards: list[Board]
    trials: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: list[tuple[str, dict[int, float], dict[int, str]]] = field(default_factory=list)  #: name, value and trials per seed

    @property
    def metric(self) -> Metric:
        return self.metric_named(self.definition.metric)

    def metric_named(self, name: str) -> Metric:
        declared = self.boards[0].metrics.get(name)
        return declared or Metric(name, "", "none", "", False, None)

    @property
    def lower_is_better(self) -> bool:
        return self.metric.direction != "higher"

    def seeds_of(self, arms: Sequence[Arm], metrics: Sequence[str]) -> dict[tuple[str, str], Floats]:
        """One value per common seed for every (text of the arm, metric): the mean over the matching task configurations.

        Only seeds on which every arm has a finite value of every metric in every configuration count. Raises Unusable when there are none.
        """
        picked = [[self.one_entry(board, arm) for arm in arms] for board in self.boards]
        seeds = sorted(set.intersection(*(set(board.seeds) for board in self.boards)))
        values = {(arm.text, name): np.full((len(self.boards), len(seeds)), np.nan) for arm in arms for name in metrics}
        for row, (board, entries) in enumerate(zip(self.boards, picked, strict=True)):
            columns = [board.seeds.index(seed) for seed in seeds]
            for arm, entry in zip(arms, entries, strict=True):
                for name in metrics:
                    if name not in board.values:
                        raise Unusable(f"Task {board.task} has no scalar metric {name!r}.", attempted=True)
                    values[arm.text, name][row] = board.values[name][entry][columns]
        complete = np.all([~np.isnan(matrix).any(axis=0) for matrix in values.values()], axis=0)
        if not complete.any():
            raise Unusable("No seed has a finite result of every arm; run them on common seeds.", attempted=True)
        for board, entries in zip(self.boards, picked, strict=True):
            for seed, whole in zip(seeds, complete, strict=True):
                if whole:
                    self.trials += [board.trials[entry][board.seeds.index(seed)] for entry in entries]
        whole_seeds = [seed for seed, whole in zip(seeds, complete, strict=True) if whole]
        for (text, name), matrix in values.items():
            means = matrix[:, complete].mean(axis=0)
            column = [arm.text for arm in arms].index(text)
            keys = {
                seed: " ".join(board.trials[row[column]][board.seeds.index(seed)] for board, row in zip(self.boards, picked, strict=True))
                for seed in whole_seeds
            }
            self.data.append((f"{text}: {name}", dict(zip(whole_seeds, means.tolist(), strict=True)), keys))
        if len(seeds) > complete.sum():
            self.notes.append(f"{len(seeds) - int(complete.sum())} seeds without a finite result of every arm are left out.")
        if len(self.boards) > 1:
            self.notes.append(f"Each seed's value is the mean over {len(self.boards)} task configurations.")
        return {key: matrix[:, complete].mean(axis=0) for key, matrix in values.items()}

    def entries(self, board: Board, arm: Arm) -> list[int]:
        """Entries of the board that match the arm."""
        return [at for at, one in enumerate(board.entries) if one.method == arm.method and _matches(json.loads(one.params), arm.params)]

    def one_entry(self, board: Board, arm: Arm) -> int:
        """The entry of the arm: the only match, or the one with default values in all params that the arm leaves open."""
        found = self.entries(board, arm)
        if not found:
            raise Unusable(f"Nobody has run {arm.text} on {board.name} yet.")
        if len(found) == 1:
            return found[0]
        defaults = self.material.defaults.get(arm.method, {})
        plain = [at for at in found if _matches(json.loads(board.entries[at].params), {**defaults, **arm.params})]
        if len(plain) != 1:
            texts = "; ".join(board.entries[at].short or board.entries[at].params for at in found[:4])
            raise Unusable(
                f"{arm.text} matches {len(found)} configurations ({texts}) and none is the default: fix more params.", attempted=True
            )
        return plain[0]


def select(definition: Definition, material: Material) -> Selection:
    """The boards that the claim speaks about; raises Unusable when it can't be tested here or nobody has tried."""
    if definition.not_testable:
        raise Unusable(f"Not testable here: {definition.not_testable}")
    boards = [
        board for board in material.boards.get(definition.task, ()) if _matches(json.loads(board.task_params), definition.task_params)
    ]
    if not boards:
        params = f" with {json.dumps(definition.task_params, sort_keys=True)}" if definition.task_params else ""
        raise Unusable(f"Nobody has run task {definition.task}{params} yet.")
    if len(boards) > 1:
        defaults = material.defaults.get(definition.task, {})
        plain = [board for board in boards if _matches(json.loads(board.task_params), {**defaults, **definition.task_params})]
        boards = plain if len(plain) == 1 else boards
    chosen = Selection(definition, material, boards)
    chosen.boards = [board for board in boards if all(chosen.entries(board, arm) for arm in definition.arms)] or boards[:1]
    return chosen


def _matches(params: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in params and _same(params[name], value) for name, value in wanted.items())


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)
