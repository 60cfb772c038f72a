"""What waits to be run: units in the order in which they should start, and how many of them make a call."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from harness.engines.base import FixtureUnit, Shape, TrialUnit, Unit
from harness.planned import PlannedFixture, PlannedTrial

#: Expected seconds of work in one call: long enough that travelling costs nothing, short enough that the last calls end together.
CALL_SECONDS = 0.5

#: A call hands back what it has not begun after this long: the expectation was wrong.
CALL_BUDGET = 4 * CALL_SECONDS

#: Most units in one call.
CALL_UNITS = 1000


class Costs:
    """Expected duration of trials: what the plan expects, times a factor learned per (task, method) while the run goes on."""

    #: Weight of a new observation. Falling fast and rising slowly: the first trial of a kind pays for imports and caches.
    FALL, RISE = 0.7, 0.3

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}

    def seconds(self, planned: PlannedTrial) -> float:
        return planned.seconds * self._factors.get((planned.trial.task, planned.trial.method), 1.0)

    def observe(self, planned: PlannedTrial, seconds: float) -> None:
        observed = seconds / max(planned.seconds, 1e-9)
        kind = (planned.trial.task, planned.trial.method)
        before = self._factors.get(kind, observed)
        weight = self.FALL if observed < before else self.RISE
        self._factors[kind] = before + weight * (observed - before)


@dataclass(slots=True, eq=False)
class Item:
    """One unit that waits or runs: trials of one seed group (usually one trial), or a fixture."""

    trials: tuple[PlannedTrial, ...]
    fixture: PlannedFixture | None = None
    alone: bool = False  #: shares its call with no other: it may have brought down a worker, nobody can tell
    leased: bool = False  #: its trials are ours in the ledger
    missing: int = 0  #: fixtures that are not there yet
    turn: int = 0  #: place in the order of its random blocks (see blocks.py); 0: longest first

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.trials[0].trial.key,) if len(self.trials) == 1 else tuple([planned.trial.key for planned in self.trials])

    @property
    def shape(self) -> Shape:
        return self.trials[0].shape if self.trials else Shape()

    @property
    def affinity(self) -> str:
        """What makes two units want the same worker: the fixture it has loaded, else the task's own caches."""
        if not self.trials:
            return ""
        return self.trials[0].fixtures[0] if self.trials[0].fixtures else self.trials[0].trial.task

    def seconds(self, costs: Costs) -> float:
        if len(self.trials) == 1:
            return costs.seconds(self.trials[0])
        return self.fixture.seconds if self.fixture else sum(map(costs.seconds, self.trials))

    def unit(self) -> Unit:
        """What travels to the worker."""
        if self.fixture is not None:
            # Nobody declares a limit for fixtures: generous, but nothing hangs for ever.
            return FixtureUnit(self.fixture.name, self.fixture.params, self.fixture.key, max(1800.0, 30.0 * self.fixture.seconds))
        trial = self.trials[0].trial
        return TrialUnit(
            trial.task,
            trial.task_params,
            trial.method,
            trial.method_params,
            (trial.seed,) if len(self.trials) == 1 else tuple([planned.trial.seed for planned in self.trials]),
            self.keys,
            sum([planned.timeout for planned in self.trials]),
        )


def group_items(todo: Iterable[PlannedTrial]) -> list[Item]:
    """One item per trial, or per seed group."""
    groups: dict[str, list[PlannedTrial]] = {}
    items = []
    for planned in todo:
        if planned.group:
            groups.setdefault(planned.group, []).append(planned)
        else:
            items.append(Item((planned,)))
    return items + [Item(tuple(group)) for group in groups.values()]


class ReadyQueue:
    """Items of one shape that may start: by priority, then turn, then longest expected first. `leased` ones are claimed and go first."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._heap: list[tuple[int, float, int, Item]] = []
        self._later: list[tuple[float, int, Item]] = []
        self._numbers = itertools.count()
        self.leased: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._heap) + len(self._later) + len(self.leased)

    def push(self, item: Item, not_before: float = 0.0, now: float = 0.0) -> None:
        """Add an item; it is not handed out before `not_before`."""
        if not_before > now:
            heapq.heappush(self._later, (not_before, next(self._numbers), item))
        elif item.leased:
            self.leased.appendleft(item) if item.shape.exclusive else self.leased.append(item)  # tried again: near its block
        else:
            order = item.turn or -item.seconds(self._costs)
            heapq.heappush(self._heap, (-item.trials[0].priority, order, next(self._numbers), item))

    def wake(self, now: float) -> None:
        """Let in what has waited long enough."""
        while self._later and self._later[0][0] <= now:
            self.push(heapq.heappop(self._later)[2])

    def take(self, count: int) -> list[Item]:
        """The next `count` items that have no lease yet."""
        return [heapq.heappop(self._heap)[3] for _ in range(min(count, len(self._heap)))]

    def head_seconds(self) -> float | None:
        """Expected duration of the next item, with what has been learned since it was added."""
        item = self.leased[0] if self.leased else self._heap[0][3] if self._heap else None
        return None if item is None else item.seconds(self._costs)

    def batch_size(self, slots: int) -> int:
        """How many items like the next one make a call, so that all slots get a share of what is left."""
        seconds = self.head_seconds()
        if seconds is None:
            return 0
        share = -(-(len(self._heap) + len(self.leased)) // max(1, slots))
        return max(1, min(CALL_UNITS, share, int(CALL_SECONDS / max(seconds, 1e-6))))

    def worth(self, seconds: float, limit: int) -> int:
        """How many items like the next one make so many expected seconds, at most `limit`."""
        each = self.head_seconds()
        return 0 if each is None else min(limit, int(seconds / max(each, 1e-6)))

    def batch(self, slots: int, limit: int) -> list[Item]:
        """Items for one call, at most `limit`, out of those that are leased."""
        size = min(self.batch_size(slots), limit)
        items: list[Item] = []
        seconds = 0.0
        while self.leased and len(items) < size:
            item = self.leased[0]
            cost = item.seconds(self._costs)
            if items and (item.alone or item.fixture or items[0].alone or items[0].fixture or seconds + cost > CALL_SECONDS):
                break
            items.append(self.leased.popleft())
            seconds += cost
        return items
