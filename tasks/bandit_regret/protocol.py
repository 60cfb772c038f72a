"""What a bandit policy is: `reset`, then `act` and `update` once per round.

A policy sees the problem's shape, what its method declared that it must be told, each round's contexts, its own arms and rewards, and its
own random numbers. Means, noise and regret stay with the environment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from tasks.api import Method

#: What a method may ask to be told (`knowledge` in its class statement), and the unit of each.
FACTS = {
    "horizon": "number of rounds T",
    "noise_scale": "standard deviation R (or sub-Gaussian constant) of the reward noise",
    "noise_scale_per_round": "standard deviation of each round's noise, from `Problem.noise_at(round)`; the value here is the largest",
    "norm_bound": "bound S on the Euclidean norm of theta",
    "gap": "smallest gap Delta between the best and the second mean",
    "misspecification": "bound zeta on |E[r | x] - x'theta|",
    "sparsity": "number of nonzeros of theta",
    "kappa": "smallest slope of the link over the ball that holds theta",
    "range": "width of the interval [0, range] that holds every reward",
    "moment_order": "1 + eps, the order of a moment that is finite",
    "moment_bound": "bound u on E|r|^(1+eps)",
    "central_moment_bound": "bound v on E|r - E r|^(1+eps)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What a policy is told before the first round. `facts` holds only what its method's `knowledge` declares."""

    arms: int
    dimension: int
    fixed_arms: bool  #: every round shows the same contexts
    facts: Mapping[str, float] = field(default_factory=dict)
    link: str = "identity"  #: generalized linear bandits: identity, logistic or poisson
    hold: int = 1  #: rounds for which each set of contexts stays
    noise_at: Callable[[int], float] | None = None  #: standard deviation of a round's noise, for methods that declare to know it


class Draws:
    """A policy's own random numbers: pure functions of (seed, round, index), so a policy that draws more often shifts nothing."""

    def __init__(self, key: int) -> None:
        from kernels.bandits import draws

        self.key = key
        self._draws = draws

    def uniform(self, round_: int, index: int = 0) -> float:
        """In the open interval (0, 1)."""
        return float(self._draws.uniform(self.key, round_, index))

    def normal(self, round_: int, index: int = 0) -> float:
        """Standard normal."""
        return float(self._draws.normal(self.key, round_, index))

    def normals(self, round_: int, count: int) -> np.ndarray:
        """`normal(round_, 0..count-1)`, shape [count]."""
        return np.array([self.normal(round_, index) for index in range(count)])

    def beta(self, round_: int, index: int, a: float, b: float) -> float:
        """Beta(a, b) from the 128 indices that start at `index`."""
        return float(self._draws.beta(self.key, round_, index, a, b))

    def generator(self) -> np.random.Generator:
        """A NumPy generator seeded by the same key, for policies that have no use for counters."""
        return np.random.Generator(np.random.PCG64(self.key))


class Policy(Protocol):
    """One run of a bandit algorithm. Rounds count from 1."""

    def reset(self, problem: Problem, draws: Draws) -> None:
        """Forget everything; a new run begins."""
        ...

    def act(self, contexts: np.ndarray) -> int:
        """The arm to play, 0..arms-1, given the features [arms, dimension] of this round (read-only)."""
        ...

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        """Learn the reward of the arm played."""
        ...


class Compiled(NamedTuple):
    """A kernel of `kernels.bandits` by name, and its parameters in the order the kernel documents."""

    kernel: str
    params: tuple[float, ...] = ()


class BanditMethod(Method, family="bandit_regret"):
    """A policy. Third parties derive from the sub-class of the problem they solve and implement `policy` only."""

    @abstractmethod
    def policy(self) -> Policy:
        """A fresh policy; the referee calls `reset` before the first round."""

    def compiled(self, problem: Problem) -> Compiled | None:
        """The built-in kernel that takes the same decisions, or None to be played round by round."""
        return None

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """Parameters with the constants that the paper's theory gives for this problem, whose `facts` here hold everything the task can
        tell; {} where the defaults are these, the reason as a clause where the theory doesn't cover it."""
        return {}


class LinearMethod(BanditMethod):
    """A policy that uses contexts [arms, dimension]: linear bandits."""


class GlmMethod(BanditMethod):
    """A policy for generalized linear bandits, E[r | x] = mu(x'theta) with mu = `Problem.link`."""

    links: ClassVar[tuple[str, ...]] = ("identity", "logistic", "poisson")  #: the links it is made for
    longest: ClassVar[int] = 1 << 62  #: the longest horizon it can be asked to play


class SolverMethod(BanditMethod):
    """A policy that tunes a solver: contexts [arms, 1] repeat one number that describes the instance, the reward is minus the cost."""


class IdentificationPolicy(Policy, Protocol):
    """A policy that spends a budget of plays and then names the best arm."""

    def recommend(self) -> int:
        """The arm believed best, after the last round."""
        ...


class IdentificationMethod(BanditMethod):
    """A policy that names the best arm after a budget of plays. Derive from the sub-classes."""

    @abstractmethod
    def policy(self) -> IdentificationPolicy:
        """A fresh policy; the referee calls `reset` before the first round and `recommend` after the last."""


class BeamMethod(IdentificationMethod):
    """Identification on a grid: contexts [arms, 2] are the arms' integer coordinates."""


class ActionMethod(IdentificationMethod):
    """Identification among actions with features: contexts [arms, d]."""


class ClassifierMethod(BanditMethod):
    """A policy that guesses classes: contexts [arms, d] repeat one row of features, the reward is 1 for the right arm and else 0."""


class ArmedMethod(BanditMethod):
    """A policy for K arms without contexts (it is shown an array of shape [arms, 0])."""
