"""Plain-Python policies get the same leaderboard; those that break the rules are caught."""

from __future__ import annotations

import gc
import sys
from typing import ClassVar

import numpy as np
import pytest

from tasks.bandit_regret.linear import Linear
from tasks.bandit_regret.methods.oful import Oful, OfulPolicy
from tasks.bandit_regret.protocol import LinearMethod
from tasks.errors import InvalidResult

TASK = Linear(d=3, arms=5, horizon=400, gap=None, zeta=0.05)


class Base:
    def reset(self, problem, draws):
        self.problem, self.draws, self.t = problem, draws, 0

    def act(self, contexts):
        self.t += 1
        return 0

    def update(self, contexts, arm, reward):
        pass


def _run(policy, task=TASK, seed=0, knowledge=()):
    class Plugin(LinearMethod, name="plugin", knowledge=knowledge):
        def policy(self):
            return policy()

    return task.run(Plugin(), seed, None)


class Third(OfulPolicy):
    """A stranger's OFUL, without a kernel."""

    def __init__(self):
        super().__init__(Oful())


def test_a_plain_python_policy_gets_the_numbers_of_the_compiled_one():
    ours, theirs = TASK.run(Oful(), 0, None), _run(Third)
    assert theirs.info["played"] == "round by round"
    assert ours.info["played"] == "compiled"
    assert theirs.metrics == pytest.approx(ours.metrics, rel=1e-12)
    assert theirs.curves["regret_curve"][0] == ours.curves["regret_curve"][0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (5, "arms are 0 to 4"),
        (-1, "arms are 0 to 4"),
        (1.0, "must return an int"),
        (float("nan"), "must return an int"),
        (None, "must return an int"),
        (True, "must return an int"),
        (np.array([1]), "must return an int"),
    ],
)
def test_an_illegal_arm_is_invalid(answer, words):
    class Illegal(Base):
        def act(self, contexts):
            return answer

    with pytest.raises(InvalidResult, match=words):
        _run(Illegal)


def test_writing_to_the_contexts_is_invalid():
    class Writer(Base):
        def act(self, contexts):
            contexts[0] = 0
            return 0

    with pytest.raises(InvalidResult, match="tried to change the contexts in round 1"):
        _run(Writer)


def test_writing_through_the_flag_is_invalid_and_never_reaches_the_environment():
    class Forcer(Base):
        def update(self, contexts, arm, reward):
            contexts.flags.writeable = True
            contexts[0] = 0

    with pytest.raises(InvalidResult, match="changed the contexts in round 1"):
        _run(Forcer)


def test_reading_the_means_off_the_referees_stack_is_caught():
    class Peeker(Base):
        def act(self, contexts):
            self.t += 1
            frame = sys._getframe()
            while True:
                frame = frame.f_back
                for name in ("environment", "decoy"):
                    if hasattr(frame.f_locals.get(name), "means"):
                        return int(frame.f_locals[name].means(self.t).argmax())

    with pytest.raises(InvalidResult, match="not shown"):
        _run(Peeker)


@pytest.fixture
def young_heap():
    """The garbage collector passes over what earlier tests left: to look there in every round would cost half a minute."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_finding_the_environment_through_the_garbage_collector_is_caught(young_heap):
    class Collector(Base):
        def act(self, contexts):
            gc.collect()
            worlds = [item for item in gc.get_objects() if type(item).__name__ == "LinearEnvironment"]
            return int(worlds[-1].means.argmax())

    with pytest.raises(InvalidResult, match="not shown"):
        _run(Collector, task=Linear(d=3, arms=5, horizon=20, gap=None))


def test_randomness_from_elsewhere_is_caught():
    class Elsewhere(Base):
        def act(self, contexts):
            return int(np.random.default_rng().integers(5))

    with pytest.raises(InvalidResult, match="not shown"):
        _run(Elsewhere)


def test_memory_across_runs_is_caught():
    class Memory(Base):
        runs: ClassVar[list[int]] = []

        def reset(self, problem, draws):
            super().reset(problem, draws)
            self.runs.append(1)

        def act(self, contexts):
            return len(self.runs) % 5

    with pytest.raises(InvalidResult, match="not shown"):
        _run(Memory)


def test_a_policys_own_generator_is_reproducible():
    class Own(Base):
        def reset(self, problem, draws):
            self.random = draws.generator()

        def act(self, contexts):
            return int(self.random.integers(5))

    assert _run(Own).metrics["regret"] == _run(Own).metrics["regret"] > 0


def test_a_policy_is_told_only_what_its_method_declares():
    seen = {}

    class Curious(Base):
        def reset(self, problem, draws):
            super().reset(problem, draws)
            seen.update(problem.facts)

    _run(Curious)
    assert seen == {}
    _run(Curious, knowledge=("horizon", "misspecification"))
    assert seen == {"horizon": 400, "misspecification": 0.05}


def test_an_error_of_the_policy_itself_stays_its_own():
    class Broken(Base):
        def act(self, contexts):
            raise ValueError("my own bug")

    with pytest.raises(ValueError, match="my own bug"):
        _run(Broken)
