"""Linear programmes whose costs must be predicted from a context (paper 137)."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidResult


@dataclass(frozen=True, slots=True)
class Programme:
    """min c'x subject to A x = b, x >= 0, with a bounded feasible set."""

    matrix: np.ndarray  #: A [m, n], positive
    bound: np.ndarray  #: b [m]
    bases: np.ndarray  #: the feasible bases, m columns each, [v, m]
    vertices: np.ndarray  #: their solutions [v, n]

    def solve(self, costs: np.ndarray) -> np.ndarray:
        """The number of an optimal vertex for each row of costs [rows, n]."""
        return np.argmin(costs @ self.vertices.T, axis=1)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a method learns from: contexts [rows, p] (the last column is 1), the optimal vertex of each row, and its costs if told."""

    programme: Programme
    contexts: np.ndarray
    optimal: np.ndarray  #: int [rows], index into the vertices
    costs: np.ndarray | None  #: [rows, n], None unless the method's knowledge includes "costs"


class DecisionMethod(Method, family="bandit_regret"):
    """Learns to predict costs linearly from contexts."""

    @abstractmethod
    def fit(self, decisions: Decisions) -> np.ndarray:
        """Coefficients [n, p]: predicted costs are contexts @ coefficients.T."""


class ContextLp(Task, family="bandit_regret", name="context-lp", label="contextual LP", accepts=(DecisionMethod,), seconds=0.5):
    """Predict the costs of a linear programme, act on the prediction, pay the true costs; the setting of paper 137, "Maximum optimality
    margin: a unified approach for contextual linear programming and inverse linear programming".

    Costs are polynomials of the context as in Elmachtoub and Grigas (2022): ((B z)_j / sqrt p + 3)^degree + 1 over 3.5^degree, times
    1 + uniform noise. A is positive, so every cost vector has an optimal vertex; all vertices are enumerated. The metric is the expected
    extra cost of the decision over the optimal cost, on fresh contexts and without noise.
    """

    check_params: ClassVar = {"constraints": 2, "variables": 4, "rows": 20, "test": 20}

    constraints: int = Field(4, ge=1, le=6, description="rows m of A")
    variables: int = Field(10, ge=2, le=14, description="columns n of A")
    features: int = Field(5, ge=1, le=50, description="dimension p of the context")
    degree: int = Field(4, ge=1, le=8, description="degree of the costs in the context; 1: a linear model is right")
    noise: float = Field(0.0, ge=0, lt=1, description="half-width of the multiplicative noise of the training costs")
    rows: int = Field(100, ge=2, le=10_000, description="training rows")
    test: int = Field(200, ge=1, le=100_000, description="fresh contexts")

    metrics = (
        Metric("normalised_regret", "fraction", "lower", "extra cost of the decisions over the optimal cost", primary=True, low=0.0),
        Metric("wrong_decisions", "fraction", "lower", "share of fresh contexts with another vertex than the optimal", low=0.0, high=1.0),
    )

    def data_fingerprint(self) -> str:
        return digest("contextual linear programme, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.constraints >= self.variables:
            return f"constraints={self.constraints} leave nothing to choose among {self.variables} variables."
        return method.infeasible()

    def programme(self, seed: int) -> Programme:
        """The feasible set of one seed, with all its vertices."""
        random = self.streams(seed).numpy("init")
        matrix = random.uniform(0.1, 1, size=(self.constraints, self.variables))
        bound = matrix @ random.random(self.variables)
        bases, vertices = [], []
        for columns in itertools.combinations(range(self.variables), self.constraints):
            try:
                basic = np.linalg.solve(matrix[:, columns], bound)
            except np.linalg.LinAlgError:
                continue
            if (basic >= 0).all():
                vertex = np.zeros(self.variables)
                vertex[list(columns)] = basic
                bases.append(columns)
                vertices.append(vertex)
        return Programme(matrix, bound, np.array(bases), np.array(vertices))

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, DecisionMethod)
        programme = self.programme(seed)
        fitted = np.asarray(method.fit(self._decisions(programme, seed, "costs" in method.knowledge)), dtype=float)
        if fitted.shape != (self.variables, self.features + 1) or not np.isfinite(fitted).all():
            raise InvalidResult(f"fit() must return finite coefficients [{self.variables}, {self.features + 1}]; got shape {fitted.shape}.")
        mixing = self._mixing(self.streams(seed).numpy("data"))  # made only now, so that a method finds none on the stack
        fresh, costs = self._draw(self.streams(seed).numpy("eval"), mixing, self.test)
        best, chosen = programme.solve(costs), programme.solve(fresh @ fitted.T)
        optimal = np.einsum("ij,ij->i", costs, programme.vertices[best])
        paid = np.einsum("ij,ij->i", costs, programme.vertices[chosen])
        regret = max(float(paid.sum() - optimal.sum()) / float(optimal.sum()), 0.0)  # rounding of equal sums
        return Measured({"normalised_regret": regret, "wrong_decisions": float((best != chosen).mean())})

    def _decisions(self, programme: Programme, seed: int, told: bool) -> Decisions:
        """The training rows, with their costs if the method is `told`."""
        random = self.streams(seed).numpy("data")
        train, costs = self._draw(random, self._mixing(random), self.rows)
        costs = costs * (1 + self.noise * self.streams(seed).numpy("noise").uniform(-1, 1, size=costs.shape))
        return Decisions(programme, train, programme.solve(costs), costs if told else None)

    def _mixing(self, random: np.random.Generator) -> np.ndarray:
        """Which features matter for which cost, [variables, features]."""
        return (random.random((self.variables, self.features)) < 0.5).astype(float)

    def _draw(self, random: np.random.Generator, mixing: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
        z = random.standard_normal((rows, self.features))
        costs = ((z @ mixing.T / math.sqrt(self.features) + 3) ** self.degree + 1) / 3.5**self.degree
        return np.column_stack([z, np.ones(rows)]), costs


def reduced_costs(programme: Programme) -> np.ndarray:
    """R [v, n - m, n] such that R[v] @ c are the reduced costs of the nonbasic variables at vertex v; all are >= 0 where v is optimal."""
    m, n = programme.matrix.shape
    tables = np.empty((len(programme.bases), n - m, n))
    for v, basis in enumerate(programme.bases):
        rest = np.setdiff1d(np.arange(n), basis)
        tables[v] = np.eye(n)[rest]
        tables[v][:, basis] -= np.linalg.solve(programme.matrix[:, basis], programme.matrix[:, rest]).T
    return tables
