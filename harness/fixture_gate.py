"""Which units wait for which fixtures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from db.records import Outcome
from harness.engines.base import Shape
from harness.outcomes import History, decide
from harness.planned import PlannedFixture, PlannedTrial
from harness.queueing import Item


@dataclass(slots=True)
class _State:
    planned: PlannedFixture
    item: Item
    waiting: list[Item] = field(default_factory=list)
    history: History = field(default_factory=History)


class FixtureGate:
    """Holds items back until their fixtures are there. `release` gets each item that may start, fixtures among them."""

    def __init__(self, fixtures: Iterable[PlannedFixture], release: Callable[[Item], None]) -> None:
        self._release = release
        self._states = {fixture.key: _State(fixture, Item((), fixture)) for fixture in fixtures if not fixture.present}

    def admit(self, item: Item) -> None:
        """Hold a trial item, or release it when nothing is missing."""
        self._hold(item, dict.fromkeys(itertools.chain.from_iterable(planned.fixtures for planned in item.trials)))

    def open(self) -> None:
        """Release the fixtures that need no other, once every trial is admitted."""
        for state in list(self._states.values()):
            self._hold(state.item, state.planned.needs)

    def waiting(self) -> int:
        """How many items are held."""
        return sum(len(state.waiting) for state in self._states.values())

    def shape(self, item: Item, default: Shape) -> Shape:
        """Where to build: where its first user would run."""
        assert item.fixture is not None
        todo = list(self._states[item.fixture.key].waiting)
        while todo:
            user = todo.pop()
            if user.fixture is None:
                return user.shape
            todo += self._states[user.fixture.key].waiting
        return default

    def built(self, item: Item) -> None:
        """The fixture is there: release whom it held back."""
        assert item.fixture is not None
        state = self._states.pop(item.fixture.key, None)
        for waiting in state.waiting if state is not None else ():
            waiting.missing -= 1
            if waiting.missing == 0:
                self._release(waiting)

    def retry(self, item: Item, outcome: Outcome, worker: str, external: bool) -> bool:
        """A build did not succeed: whether it is tried again (it is released then), or need not be, because another one did."""
        assert item.fixture is not None
        state = self._states.get(item.fixture.key)
        if state is None:
            return True
        if decide(state.history, outcome, worker, external).state != "pending":
            return False
        self._release(item)
        return True

    def failed(self, item: Item) -> tuple[list[PlannedFixture], list[PlannedTrial]]:
        """Give a fixture up; returns it with all that need it: fixtures on top of it, and the trials that can't run now."""
        assert item.fixture is not None
        fixtures: list[PlannedFixture] = []
        trials: list[PlannedTrial] = []
        todo = [item.fixture.key]
        while todo:
            state = self._states.pop(todo.pop(), None)
            if state is None:
                continue
            fixtures.append(state.planned)
            for waiting in state.waiting:
                if waiting.fixture is not None:
                    todo.append(waiting.fixture.key)
                elif waiting.missing > 0:
                    waiting.missing = -1  # another fixture of it may still be built, or fail: it has ended
                    trials += waiting.trials
        return fixtures, trials

    def _hold(self, item: Item, needs: Iterable[str]) -> None:
        states = [state for key in needs if (state := self._states.get(key)) is not None]
        item.missing = len(states)
        for state in states:
            state.waiting.append(item)
        if not states:
            self._release(item)
