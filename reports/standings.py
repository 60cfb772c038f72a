"""A board ranked by one metric: means, intervals, groups and ranks, under a stated policy for missing results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from reports.boards import Board, Metric
from reports.errors import BadQuestion
from reports.provenance import Coordinates
from reports.questions import Filter
from reports.stats import groups
from reports.stats.caveats import few_t, skew_note
from reports.stats.distributions import Floats
from reports.stats.intervals import MeanTable, scale_text, t_intervals
from reports.stats.power import seeds_needed

Policy = Literal["drop", "worst", "impute"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

#: The tests are corrected by Holm's method up to so many methods, by Bonferroni's above.
MOST_HOLM = 80

#: Letters for more groups than this would run past z and tell nobody anything; rank intervals remain.
MOST_GROUPS = 26

#: What a policy does with a seed on which a method has no finite result.
POLICY_TEXT = {
    "drop": "averages use the seeds that finished, comparisons the seeds both finished",
    "worst": "counts as the worst value any method has on this board",
    "impute": "counts as the method's own mean plus how hard that seed was for the others",
}


@dataclass
class Standing:
    """`board` ranked by `metric`. Arrays follow the board's entries; `order` lists entries best first, those without a result last."""

    board: Board
    metric: Metric
    policy: Policy = "drop"
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise BadQuestion(f"Unknown policy for missing results {self.policy!r}; choose one of {', '.join(POLICIES)}.")
        if self.metric.id not in self.board.values:
            known = ", ".join(self.board.metrics)
            raise BadQuestion(f"Task {self.board.task} has no metric {self.metric.id!r}; it has {known}.")

    def cell(self, entry: int, metric: str = "") -> Coordinates:
        """Where the number of an entry comes from (of the metric ranked by, unless another is named), and how it was read."""
        return replace(self.board.coordinates(entry, metric or self.metric.id), reading=reading(self.policy, self.board.only))

    @cached_property
    def matrix(self) -> Floats:
        """Values (entries, seeds) after the policy; NaN where missing."""
        return self.filled(self.metric.id)

    def filled(self, metric: str) -> Floats:
        """The matrix of any metric of the board after the policy."""
        raw = self.board.values[metric]
        gaps = np.isnan(raw)
        if self.policy == "drop" or not gaps.any() or gaps.all():
            return raw
        if self.policy == "worst":
            direction = self.board.metrics[metric].direction
            worst = np.nanmin(raw) if direction == "higher" else np.nanmax(raw)
            return np.where(gaps, worst if direction != "none" else np.nan, raw)
        own = t_intervals(raw).mean
        centred = raw - own[:, None]
        seen = (~gaps).sum(axis=0)
        hardness = np.where(seen > 0, np.nansum(centred, axis=0) / np.maximum(seen, 1), 0.0)
        return np.where(gaps, own[:, None] + hardness[None, :], raw)

    @cached_property
    def table(self) -> MeanTable:
        return t_intervals(self.matrix, self.level, self.metric.bounds)

    def secondary(self, metric: str) -> MeanTable:
        """Means of another metric of the board, under the same policy."""
        return t_intervals(self.filled(metric), self.level, self.board.metrics[metric].bounds)

    @property
    def lower_is_better(self) -> bool:
        return self.metric.direction != "higher"

    @cached_property
    def order(self) -> list[int]:
        mean = self.table.mean
        sign = 1.0 if self.lower_is_better else -1.0
        names = [entry.name for entry in self.board.entries]
        return sorted(
            range(len(mean)), key=lambda at: (bool(np.isnan(mean[at])), 0.0 if np.isnan(mean[at]) else sign * mean[at], names[at])
        )

    @cached_property
    def _separated(self) -> tuple[groups.Bools, Floats]:
        if len(self.board.entries) > MOST_HOLM:
            return groups.separated(self.matrix, self.level)
        pairwise = groups.pairwise_t(self.matrix)
        with np.errstate(invalid="ignore"):
            return pairwise.adjusted < 1 - self.level, pairwise.difference

    @property
    def different(self) -> groups.Bools:
        """Which pairs of entries are told apart, shape (entries, entries)."""
        return self._separated[0]

    @cached_property
    def ranked(self) -> list[int]:
        """Entries that have a result, best first."""
        return [at for at in self.order if not np.isnan(self.table.mean[at])]

    @cached_property
    def letters(self) -> list[str]:
        """Letters per entry; empty for entries without a result or when there are too many groups for letters."""
        out = [""] * len(self.board.entries)
        if len(self.ranked) > MOST_HOLM or self.metric.direction == "none":
            return out
        chosen = np.array(self.ranked, dtype=np.int64)
        found = groups.cliques(self.different, chosen)
        return groups.letters(found, len(out)) if len(found) <= MOST_GROUPS else out  # none found: beyond counting

    @cached_property
    def ranks(self) -> tuple[list[int], list[int]]:
        """Simultaneous rank intervals per entry; 0, 0 for entries without a result and where no direction is better."""
        low, high = [0] * len(self.board.entries), [0] * len(self.board.entries)
        if self.metric.direction == "none":
            return low, high
        sign = -1 if self.lower_is_better else 1
        chosen = np.array(self.ranked, dtype=np.int64)
        if len(chosen):
            grid = np.ix_(chosen, chosen)
            better = self.different[grid] & (sign * self._separated[1][grid] > 0)
            for at, wins, losses in zip(chosen, better.sum(axis=1), better.sum(axis=0), strict=True):
                low[at], high[at] = int(1 + losses), int(len(chosen) - wins)
        return low, high

    @cached_property
    def best(self) -> frozenset[int]:
        """Entries that can't be told apart from the best mean (the best included)."""
        if not self.ranked or self.metric.direction == "none":
            return frozenset()
        first = self.ranked[0]
        return frozenset(at for at in self.ranked if at == first or not self.different[first, at])

    @cached_property
    def failed(self) -> list[int]:
        """Trials per entry that have no attempts left, plus those whose value is not finite."""
        states = np.isin(self.board.states, ("failed", "quarantined")).sum(axis=1)
        return [int(count) for count in states + self.board.nonfinite[self.metric.id].sum(axis=1)]

    @cached_property
    def unfinished(self) -> list[int]:
        """Trials per entry that are still pending or running, or that no suite asked for though others have the seed."""
        return [int(count) for count in (~np.isin(self.board.states, ("done", "failed", "quarantined"))).sum(axis=1)]

    def flips(self) -> list[str]:
        """One sentence per entry whose rank would change by another policy for missing results."""
        if self.metric.direction == "none" or not np.isnan(self.board.values[self.metric.id]).any():
            return []
        here = {at: rank for rank, at in enumerate(self.ranked, 1)}
        out = []
        for policy in POLICIES:
            if policy == self.policy:
                continue
            there = {at: rank for rank, at in enumerate(Standing(self.board, self.metric, policy, self.level).ranked, 1)}
            moved = [at for at in self.order if here.get(at) != there.get(at) and self._incomplete(at)]
            out += [
                f"If missing results were treated as {policy!r}, {self.board.entries[at].name} would rank "
                f"{there.get(at, 'nowhere')} instead of {here.get(at, 'nowhere')}."
                for at in moved[:5]
            ]
        return out

    def _incomplete(self, at: int) -> bool:
        return bool(np.isnan(self.board.values[self.metric.id][at]).any())

    def nearest(self) -> str:
        """How many seeds would separate the best from the next method, where they can't be told apart yet."""
        if len(self.ranked) < 2 or self.metric.direction == "none":
            return ""
        first, second = self.ranked[:2]
        if self.different[first, second]:
            return ""
        d = self.matrix[first] - self.matrix[second]
        d = d[~np.isnan(d)]
        if len(d) < 2:
            return ""
        needed = seeds_needed(float(d.mean()), float(d.std(ddof=1)))
        names = f"{self.board.entries[first].name} from {self.board.entries[second].name}"
        if needed is None or needed > 10_000:
            return f"No sensible number of seeds would separate {names}."
        return f"About {max(needed, len(d) + 1)} seeds would separate {names} (the difference seen, power .8, without correction)."

    def note(self) -> str:
        """How the groups and ranks were made, for people."""
        if not self.ranked:
            return "No method has a finite result."
        pairs = len(self.ranked) * (len(self.ranked) - 1) // 2
        present = (~np.isnan(self.matrix[self.ranked])).astype(np.int64)
        common = (present @ present.T)[np.triu_indices(len(present), 1)]
        smallest, alone = int(self.table.n[self.ranked].min()), int((common < 2).sum())
        correction = "Holm" if len(self.board.entries) <= MOST_HOLM else "Bonferroni"
        tests = f"paired t tests over common seeds, {correction}'s correction over {pairs:,} pairs, {1 - self.level:.0%} level"
        text = f"Means over seeds with Student's t {self.level:.0%} intervals{scale_text(self.metric.bounds)}. "
        if self.metric.direction == "none":
            text += f"No direction of {self.metric.id} is better, so there are no ranks and no groups; the order is that of the means."
        elif any(self.letters):
            text += f"Methods that share a letter can't be told apart: {tests}. The rank intervals come from the same tests."
        else:
            text += f"The rank intervals come from {tests}; where one begins with 1, no method is shown to be better. "
            text += "Letters for the groups are left out: there are too many."
        if self.policy != "drop" and np.isnan(self.board.values[self.metric.id]).any():
            text += (
                " Intervals and tests take what stands for a missing result as if it had been measured: they are too sure of themselves."
            )
        if smallest < 2:
            text += " Methods with a single seed have no interval and can't be told apart from anything."
        elif alone and self.metric.direction != "none":
            text += f" {alone:,} of the pairs have fewer than two common seeds and can't be told apart."
        elif few := few_t(int(common.min(initial=smallest))):
            text += f" {few}"
        return f"{text} {skew_note(self.matrix[self.ranked], self.metric.bounds)}".strip()


def reading(policy: Policy, only: Filter) -> str:
    """The options of `assay why` that lead to the number printed: empty unless the policy or the filter can change it."""
    if policy == "drop":
        return only.options(seeds_only=True)
    return " ".join(filter(None, (f"--missing {policy}", only.options())))


def standing(board: Board, metric: str | None = None, policy: Policy = "drop", level: float = 0.95) -> Standing:
    """The board ranked by `metric` (its primary one by default)."""
    if metric is None:
        return Standing(board, board.primary, policy, level)
    if metric not in board.metrics:
        raise BadQuestion(f"Task {board.task} has no metric {metric!r}; it has {', '.join(board.metrics)}.")
    return Standing(board, board.metrics[metric], policy, level)
