"""Plays a policy round by round, counts its regret, and catches policies that break the rules.

The referee keeps the means and the noise to itself, shows read-only contexts, checks every arm, and afterwards replays the first rounds
against a decoy environment with the recorded rewards: a policy that decides on anything but what it was shown acts differently there.
What a policy does in later rounds is not replayed, except where it names the best arm in the end: there all rounds are.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tasks.bandit_regret.protocol import Draws, IdentificationPolicy, Policy, Problem
from tasks.errors import InvalidResult

#: Rounds that are played a second time against the decoy.
REPLAYED = 300


class Environment(Protocol):
    """One seed's environment, as the referee drives it. Rounds count from 1."""

    def contexts(self, round_: int) -> np.ndarray:
        """Features [arms, dimension] of this round; the caller may keep but not change them."""
        ...

    def means(self, round_: int) -> np.ndarray:
        """Mean reward of each arm [arms] in this round."""
        ...

    def reward(self, round_: int, arm: int) -> float:
        """The sampled reward of an arm in this round."""
        ...


class Worlds(Protocol):
    """Makes environments on demand; the referee holds one at a time, so that during the replay nobody can find the real one."""

    def __call__(self, decoy: bool) -> Environment:
        """The seed's environment, or a decoy with the same contexts and other means."""
        ...


class Play(NamedTuple):
    """What one run came to: pseudo-regret at the checkpoints and the arms played."""

    curve: np.ndarray
    trace: np.ndarray
    used: int | None  #: rounds whose reward entered an estimate, if the policy says so (attribute `used`)


def checkpoints(horizon: int) -> np.ndarray:
    """Rounds at which regret is recorded: distinct round(10^(i/8)) up to the horizon, horizon/10, 9/10 of it and the horizon itself."""
    count = int(8 * math.log10(horizon)) + 1
    grid = {round(10 ** (i / 8)) for i in range(count + 1)} | {horizon // 10, horizon - horizon // 10, horizon}
    return np.array(sorted(t for t in grid if 1 <= t <= horizon), dtype=np.int64)


def play(
    make: Callable[[], Policy],
    problem: Problem,
    worlds: Worlds,
    key: int,
    rounds: Sequence[int] | np.ndarray,
    fixed_comparator: bool = False,
    replayed: int = REPLAYED,
) -> Play:
    """Play to the last of `rounds` and return the regret at each of them, against the best arm of each round or, with
    `fixed_comparator`, against the one arm that was best up to there; then replay `replayed` rounds. Raises InvalidResult in one sentence
    when a rule is broken."""
    horizon = int(rounds[-1])
    marks = {int(t): i for i, t in enumerate(rounds)}
    curve, trace, rewards = np.empty(len(rounds)), np.empty(horizon, np.int64), np.empty(horizon)
    environment, policy = worlds(decoy=False), make()
    policy.reset(problem, Draws(key))
    regret, lost = 0.0, np.zeros(problem.arms)
    for t in range(1, horizon + 1):
        contexts = environment.contexts(t)
        arm = _ask(policy, contexts, problem, t)
        means = environment.means(t)
        reward = environment.reward(t, arm)
        _tell(policy, contexts, arm, reward, t)
        regret += float(means.max() - means[arm])
        lost += means - means[arm]
        trace[t - 1], rewards[t - 1] = arm, reward
        if t in marks:
            curve[marks[t]] = lost.max() if fixed_comparator else regret
    used = getattr(policy, "used", None)
    del environment, policy
    _replay(make, problem, worlds(decoy=True), key, trace[:replayed], rewards)
    return Play(curve, trace, int(used) if used is not None else None)


def identify(make: Callable[[], IdentificationPolicy], problem: Problem, worlds: Worlds, key: int) -> tuple[int, Play]:
    """Spend the whole budget, then ask for the best arm: the arm, and the play. Raises InvalidResult when a rule is broken, also when the
    replay of all rounds leads to another answer."""
    policies: list[IdentificationPolicy] = []

    def remembered() -> IdentificationPolicy:
        policies.append(make())
        return policies[-1]

    budget = int(problem.facts["horizon"])
    played = play(remembered, problem, worlds, key, [budget], replayed=budget)
    arm, again = (policy.recommend() for policy in policies)
    if isinstance(arm, (bool, np.bool_)) or not isinstance(arm, numbers.Integral) or not 0 <= arm < problem.arms:
        raise InvalidResult(f"recommend() returned {arm!r}; it must return an int from 0 to {problem.arms - 1}.")
    if again != arm:
        raise InvalidResult(
            f"Replayed with the same contexts, rewards and random numbers, the policy recommended arm {again} where it had recommended "
            f"{arm}: it decides on something it was not shown. Use only `problem`, `draws`, contexts and rewards."
        )
    return int(arm), played


def _replay(make: Callable[[], Policy], problem: Problem, decoy: Environment, key: int, trace: np.ndarray, rewards: np.ndarray) -> None:
    policy = make()
    policy.reset(problem, Draws(key))
    for t in range(1, trace.size + 1):
        contexts = decoy.contexts(t)
        arm = _ask(policy, contexts, problem, t)
        if arm != trace[t - 1]:
            raise InvalidResult(
                f"Replayed with the same contexts, rewards and random numbers, the policy played arm {arm} in round {t} where it had "
                f"played {trace[t - 1]}: it decides on something it was not shown. Use only `problem`, `draws`, contexts and rewards."
            )
        _tell(policy, contexts, arm, float(rewards[t - 1]), t)


def _ask(policy: Policy, contexts: np.ndarray, problem: Problem, t: int) -> int:
    shown = _shown(contexts)
    try:
        arm = policy.act(shown)
    except ValueError as error:
        raise _complaint(error, t) from error
    _check_unchanged(shown, contexts, t)
    if isinstance(arm, (bool, np.bool_)) or not isinstance(arm, numbers.Integral):
        raise InvalidResult(f"act() returned {arm!r} in round {t}; it must return an int from 0 to {problem.arms - 1}.")
    if not 0 <= arm < problem.arms:
        raise InvalidResult(f"act() returned arm {arm} in round {t}; the arms are 0 to {problem.arms - 1}.")
    return int(arm)


def _tell(policy: Policy, contexts: np.ndarray, arm: int, reward: float, t: int) -> None:
    shown = _shown(contexts)
    try:
        policy.update(shown, arm, reward)
    except ValueError as error:
        raise _complaint(error, t) from error
    _check_unchanged(shown, contexts, t)


def _shown(contexts: np.ndarray) -> np.ndarray:
    copy = contexts.copy()  # a view could be made writable again, and would reach the environment
    copy.flags.writeable = False
    return copy


def _complaint(error: ValueError, t: int) -> Exception:
    if "read-only" in str(error):
        return InvalidResult(f"The policy tried to change the contexts in round {t}; they are read-only: copy them first.")
    return error


def _check_unchanged(shown: np.ndarray, contexts: np.ndarray, t: int) -> None:
    if not np.array_equal(shown, contexts):
        raise InvalidResult(f"The policy changed the contexts in round {t}; they are read-only: copy them first.")
