"""Episodic Markov decision processes with adversarial losses and bandit feedback (paper 14), linear in features."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.referee import REPLAYED, checkpoints
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidResult

#: States, actions and losses of an episode, [layers] each.
_Episode = tuple[np.ndarray, np.ndarray, np.ndarray]
#: Loss tables of the cyclic adversary follow each other with this period.
PERIOD = 7


@dataclass(frozen=True, slots=True)
class Process:
    """What a learner is told: the dynamics (known to every method here), features and the number of episodes. Every policy's expected
    loss-to-go is linear in the features."""

    transitions: np.ndarray  #: [layers, states, actions, states], rows sum to 1
    features: np.ndarray  #: [layers, states, actions, dimension]
    episodes: int


class EpisodicLearner(Protocol):
    """One run of a policy optimiser."""

    def reset(self, process: Process) -> None:
        """Forget everything; a new run begins."""
        ...

    def policy(self) -> np.ndarray:
        """Action probabilities of the next episode, [layers, states, actions]."""
        ...

    def update(self, states: np.ndarray, actions: np.ndarray, losses: np.ndarray) -> None:
        """Learn an episode: state, action and loss of each layer, [layers] each."""
        ...


class EpisodicMethod(Method, family="bandit_regret"):
    """A policy optimiser for episodic MDPs. Third parties implement `learner`."""

    @abstractmethod
    def learner(self) -> EpisodicLearner:
        """A fresh learner; `reset` is called before the first episode."""

    @classmethod
    def theory(cls) -> dict[str, Any] | None:
        """Parameters with the constants of the paper's theory; {} where the defaults are these."""
        return {}


class LinearMdp(Task, family="bandit_regret", name="linear-mdp", label="adversarial MDP", accepts=(EpisodicMethod,), seconds=3.0):
    """Layered MDP with Dirichlet(.3) transitions, losses in [0, 1] per layer, state and action, seen only where the episode passes.

    Regret is the sum over episodes of the played policy's value minus that of the best fixed policy for the summed losses, both by dynamic
    programming. `stochastic`: Bernoulli losses with fixed means; `cyclic`: seven loss tables in turn, the adversary of paper 14's setting
    ("Refined regret for adversarial MDPs with linear function approximation"). One-hot features make every tabular Q linear; `simplex`
    features are convex weights of `dimension` anchors, each with its own next-state distribution and loss; estimates of Q may be negative.
    """

    check_params: ClassVar = {"layers": 2, "states": 2, "actions": 2, "episodes": 40}

    layers: int = Field(4, ge=1, le=20, description="episode length H")
    states: int = Field(4, ge=1, le=50, description="states per layer")
    actions: int = Field(4, ge=2, le=50, description="actions")
    episodes: int = Field(5000, ge=10, le=1_000_000, description="episodes K")
    losses: Literal["stochastic", "cyclic"] = Field("cyclic", description="how losses change between episodes")
    features: Literal["one_hot", "simplex"] = Field("one_hot", description="what Q is linear in")
    dimension: int = Field(5, ge=1, le=50, description="dimension of the features (simplex)")

    metrics = (
        Metric("regret", "loss", "lower", "summed values of the policies played minus those of the best fixed policy", primary=True),
        Metric("last_decade_growth", "loss", "lower", "regret of episodes K/10+1 to K"),
        Metric("regret_curve", "loss", "lower", "regret after this episode", curve="round"),
    )

    def data_fingerprint(self) -> str:
        return digest("layered adversarial MDP, generator 1")

    def world(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Transitions [layers, states, actions, states], the tables of mean losses [tables, layers, states, actions], and features."""
        random = self.streams(seed).numpy("data")
        shape = (self.layers, self.states, self.actions)
        tables = PERIOD if self.losses == "cyclic" else 1
        if self.features == "one_hot":
            transitions = random.dirichlet(np.full(self.states, 0.3), size=shape)
            return transitions, random.random((tables, *shape)), one_hot(*shape)
        features = random.dirichlet(np.ones(self.dimension), size=shape)
        anchors = random.dirichlet(np.full(self.states, 0.3), size=(self.layers, self.dimension))
        losses = random.random((tables, self.layers, self.dimension))
        return np.einsum("hsad,hdt->hsat", features, anchors), np.einsum("hsad,khd->khsa", features, losses), features

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, EpisodicMethod)
        rounds = checkpoints(self.episodes)
        marks, seen = self._play(method.learner(), seed, rounds)
        self._replay(method.learner(), seed, seen)
        curve = [marks[int(k)] for k in rounds]
        metrics = {"regret": curve[-1], "last_decade_growth": curve[-1] - marks[self.episodes // 10]}
        return Measured(metrics, {"regret_curve": (rounds.tolist(), curve)})

    def _play(self, learner: EpisodicLearner, seed: int, rounds: np.ndarray) -> tuple[dict[int, float], list[tuple[np.ndarray, _Episode]]]:
        """Regret at `rounds`, and the policies and outcomes of the first episodes."""
        transitions, tables, features = self.world(seed)
        noise, order = self.streams(seed).numpy("noise"), self.streams(seed).numpy("method")
        best = [best_value(transitions, tables[: i + 1].sum(axis=0)) for i in range(len(tables))]
        marks: dict[int, float] = {}
        seen: list[tuple[np.ndarray, _Episode]] = []
        learner.reset(Process(transitions.copy(), features.copy(), self.episodes))
        total = 0.0
        for k in range(1, self.episodes + 1):
            policy = self._checked(learner.policy(), k)
            table = tables[(k - 1) % len(tables)]
            total += value(transitions, table, policy)
            # Every method meets the same uniforms in the same episode, whatever it did before.
            episode = _episode(transitions, table, policy, order.random((self.layers, 2)), noise.random(self.layers))
            if k <= REPLAYED:
                seen.append((policy, episode))
            learner.update(*(part.copy() for part in episode))
            if k in rounds:
                whole, rest = divmod(k, len(tables))
                summed = whole * tables.sum(axis=0) + tables[:rest].sum(axis=0)
                marks[k] = total - (whole * best[-1] if not rest else best_value(transitions, summed))
        return marks, seen

    def _replay(self, learner: EpisodicLearner, seed: int, seen: list[tuple[np.ndarray, _Episode]]) -> None:
        """The first episodes again with what was seen in them, while the losses in reach are others."""
        transitions, tables, features = self.world(seed)
        tables = 1 - tables
        learner.reset(Process(transitions.copy(), features.copy(), self.episodes))
        for k, (before, episode) in enumerate(seen, 1):
            if not np.array_equal(self._checked(learner.policy(), k), before):
                raise InvalidResult(
                    f"Replayed with the same outcomes, the learner chose another policy in episode {k}: it decides on something it was not "
                    "shown."
                )
            learner.update(*(part.copy() for part in episode))

    def _checked(self, policy: np.ndarray, episode: int) -> np.ndarray:
        shape = (self.layers, self.states, self.actions)
        policy = np.array(policy, dtype=float)
        if policy.shape != shape or not np.isfinite(policy).all() or (policy < 0).any() or np.abs(policy.sum(-1) - 1).max() > 1e-6:
            raise InvalidResult(f"policy() of episode {episode} is not a table {shape} of probabilities that sum to 1 per state.")
        return policy / policy.sum(axis=-1, keepdims=True)


def one_hot(layers: int, states: int, actions: int) -> np.ndarray:
    """Features [layers, states, actions, states x actions] in which every table is linear."""
    return np.tile(np.eye(states * actions).reshape(states, actions, -1), (layers, 1, 1, 1))


def value(transitions: np.ndarray, losses: np.ndarray, policy: np.ndarray) -> float:
    """Expected summed loss of `policy` from state 0 of the first layer."""
    future = np.zeros(losses.shape[1])
    for h in range(len(losses) - 1, -1, -1):
        future = (policy[h] * (losses[h] + transitions[h] @ future)).sum(axis=-1)
    return float(future[0])


def best_value(transitions: np.ndarray, losses: np.ndarray) -> float:
    """The smallest value of any fixed policy from state 0 of the first layer."""
    future = np.zeros(losses.shape[1])
    for h in range(len(losses) - 1, -1, -1):
        future = (losses[h] + transitions[h] @ future).min(axis=-1)
    return float(future[0])


def occupancy(transitions: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """Probability of each state and action, [layers, states, actions], starting in state 0."""
    reach, out = np.zeros(policy.shape[1]), np.empty_like(policy)
    reach[0] = 1.0
    for h in range(len(policy)):
        out[h] = reach[:, None] * policy[h]
        reach = np.tensordot(out[h], transitions[h], axes=2)
    return out


def _episode(transitions: np.ndarray, table: np.ndarray, policy: np.ndarray, uniforms: np.ndarray, noise: np.ndarray) -> _Episode:
    layers = len(policy)
    states, actions, losses = np.zeros(layers, int), np.zeros(layers, int), np.zeros(layers)
    state = 0
    for h in range(layers):
        action = _pick(policy[h, state], uniforms[h, 0])
        states[h], actions[h] = state, action
        losses[h] = float(noise[h] < table[h, state, action])
        state = _pick(transitions[h, state, action], uniforms[h, 1])
    return states, actions, losses


def _pick(p: np.ndarray, u: float) -> int:
    return min(int(np.searchsorted(np.cumsum(p), u, side="right")), len(p) - 1)


def learning_rate(kind: str, scale: float, process: Process) -> float:
    """scale sqrt(ln A / K) / H for entropy, scale sqrt(A ln K / K) / H for the log barrier: balances the two terms of their bounds."""
    layers, _, actions, _ = process.transitions.shape
    size = math.log(actions) if kind == "entropy" else actions * math.log(process.episodes)
    return scale * math.sqrt(size / process.episodes) / layers
