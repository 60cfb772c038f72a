"""What a plan consists of: data only, so that the planner, the scheduler and the progress view share one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.records import Catalogue, Trial
from harness.engines.base import Shape


@dataclass(frozen=True, slots=True)
class PlannedFixture:
    """A fixture that some trial of the plan needs. `needs` are keys of fixtures it is built from."""

    key: str
    name: str
    params: Mapping[str, Any]
    needs: tuple[str, ...]
    seconds: float  #: expected build time
    present: bool  #: already in the cache of this machine


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial to run. Trials with the same non-empty `group` differ only in seed and travel as one unit (`seeds_together`)."""

    trial: Trial
    group: str
    fixtures: tuple[str, ...]
    timeout: float  #: seconds for this trial alone; a unit's limit is the sum over its trials
    shape: Shape
    seconds: float  #: expected duration
    priority: int = 0  #: higher first


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A combination the suite asks for that can't run, and the sentence that says why."""

    trial: Trial
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A suite expanded against the ledger: `todo` runs, `done` is already accepted there, `failed` has used up its retries."""

    suite: str
    suite_text: str
    trials: Sequence[Trial]  #: every feasible trial of the suite, in the suite's order
    todo: Sequence[PlannedTrial]
    fixtures: Sequence[PlannedFixture]  #: those that `todo` needs, in an order in which they can be built
    done: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    infeasible: Sequence[Infeasible] = ()
    plugins: tuple[str, ...] = ()
    catalogue: Catalogue = field(default_factory=Catalogue)

    @property
    def seconds(self) -> float:
        """Expected work left, in worker seconds, fixtures that must be built included."""
        return sum(planned.seconds for planned in self.todo) + sum(fixture.seconds for fixture in self.fixtures if not fixture.present)
