"""Best-arm identification: metered budgets, phase lengths in closed form, and what unimodality is worth."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from tasks.bandit_regret.best_arm import BestArm
from tasks.bandit_regret.methods.holobeam import HoloBeam
from tasks.bandit_regret.methods.sequential_halving import HalvingPolicy, SequentialHalving
from tasks.bandit_regret.methods.successive_rejects import SuccessiveRejects
from tasks.bandit_regret.methods.uniform_allocation import UniformAllocation
from tasks.bandit_regret.protocol import ActionMethod, BeamMethod, Draws, Problem
from tasks.bandit_regret.sparse import SparseMisspecified
from tasks.errors import InvalidResult

METHODS = [HoloBeam(), SequentialHalving(), SuccessiveRejects(), UniformAllocation()]


def _plays(method, side, budget, reward=lambda arm: 0.0):
    """Plays before the plan ends, without a meter."""
    policy, problem = method.policy(), Problem(side * side, 2, True, {"horizon": budget})
    policy.reset(problem, Draws(3))
    contexts = np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(float)
    script, counts = policy.plan(problem, policy.draws, contexts), np.zeros(side * side, int)
    try:
        arm = next(script)
        while True:
            counts[arm] += 1
            arm = script.send(reward(arm))
    except StopIteration as stop:
        return counts, stop.value


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize(("side", "budget"), [(4, 64), (8, 640), (16, 200), (32, 1024)])
def test_no_policy_plans_more_plays_than_its_budget(method, side, budget):
    counts, choice = _plays(method, side, budget)
    assert counts.sum() <= budget
    assert counts[choice] > 0


def test_successive_rejects_follows_its_closed_form():
    k, n = 16, 800
    counts, _ = _plays(SuccessiveRejects(), 4, n)
    logbar = 0.5 + sum(1 / i for i in range(2, k + 1))
    lengths = [math.ceil((n - k) / (logbar * (k + 1 - phase))) for phase in range(1, k)]
    assert sorted(counts) == sorted([*lengths, lengths[-1]])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_without_noise_the_best_beam_is_found(method):
    for seed in range(5):
        gains = BestArm(side=8).gains(seed, 0)
        _, choice = _plays(method, 8, 8 * 64, lambda arm, gains=gains: gains[arm])
        assert gains[choice] == gains.max()


def test_unimodal_search_beats_halving_when_plays_are_scarce_and_loses_when_they_abound():
    """Measured elsewhere (sigma .1, K = 1024): n = 512 .066 vs .030; with n >= 2 K log2 K halving wins."""

    def regret(task, method):
        return np.mean([task.run(method, seed, None).metrics["simple_regret"] for seed in range(3)])

    scarce = BestArm(side=32, budget=512, runs=25)
    assert regret(scarce, HoloBeam()) < 0.7 * regret(scarce, SequentialHalving())
    rich = BestArm(side=8, budget=2048, runs=6, noise=0.3)
    assert regret(rich, SequentialHalving()) <= regret(rich, HoloBeam())


def test_an_illegal_recommendation_is_invalid():
    class Silly(BeamMethod, name="silly"):
        def policy(self):
            policy = UniformAllocation().policy()
            policy.recommend = lambda: 10**9
            return policy

    with pytest.raises(InvalidResult, match="recommend"):
        BestArm(side=2, budget=8, runs=1).run(Silly(), 0, None)


def frames():
    frame = sys._getframe(1)
    while frame := frame.f_back:
        yield frame.f_locals


class Peeker(HalvingPolicy):
    """Plays honestly, and remembers the best arm from a look at the environment's means."""

    best = 0

    def act(self, contexts):
        arm = super().act(contexts)
        for local in frames():
            for name in ("environment", "decoy"):
                if hasattr(local.get(name), "means"):
                    self.best = int(local[name].means(1).argmax())
        return arm

    def recommend(self):
        return self.best


class LatePeeker(HalvingPolicy):
    """Looks for the gains when it is asked."""

    def recommend(self):
        return next((int(local["gains"].argmax()) for local in frames() if "gains" in local), 0)


@pytest.mark.parametrize("policy", [Peeker, LatePeeker])
def test_a_recommendation_read_off_the_stack_is_caught_or_finds_nothing(policy):
    class Cheat(BeamMethod, ActionMethod, name="cheat"):
        def policy(self):
            return policy()

    for task in (BestArm(side=4, budget=40, runs=3), SparseMisspecified(d=6, sparsity=1, actions=60, budget=40)):
        if policy is Peeker:
            with pytest.raises(InvalidResult, match=r"recommended arm .* not shown"):
                task.run(Cheat(), 0, None)
        else:
            blind = task.run(Cheat(), 0, None).metrics
            assert blind.get("error_rate", blind.get("suboptimality")) > 0


def test_same_seed_same_bits():
    task = BestArm(side=8, budget=128, runs=5)
    assert task.run(HoloBeam(), 1, None).metrics == task.run(HoloBeam(), 1, None).metrics
