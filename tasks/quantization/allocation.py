"""Mixed precision: what a bit allocator is, and the exact optimum of its objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Literal

import numpy as np

from kernels.quantization.grids import distortion, lloyd_max
from tasks.api import Method

OPTIONS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Budget:
    """Choose bits per weight for each layer: sum_l size_l bits_l <= `total`, bits from `OPTIONS`.

    `coefficients` are the sensitivities alpha of the method's choice; the predicted loss increase of an allocation is
    sum_l alpha_l t^2(bits_l), with t^2 the distortion of the Gaussian grid of 2^bits levels.
    """

    sizes: Mapping[str, int]
    coefficients: Mapping[str, float]
    average: float

    @cached_property
    def unit(self) -> int:
        """The greatest common divisor of the sizes: budgets are counted in it."""
        return gcd(*self.sizes.values())

    @cached_property
    def capacity(self) -> int:
        """Whole units in the budget."""
        return int(np.floor(self.average * sum(self.sizes.values()) / self.unit + 1e-9))

    def error(self, bits: int) -> float:
        """t^2 of a layer at this width."""
        return distortion(lloyd_max(1 << bits))

    def predicted(self, allocation: Mapping[str, int]) -> float:
        """sum_l alpha_l t^2(bits_l)."""
        return sum(self.coefficients[name] * self.error(bits) for name, bits in allocation.items())

    def cost(self, allocation: Mapping[str, int]) -> int:
        """Code bits of an allocation in units."""
        return sum(self.sizes[name] // self.unit * bits for name, bits in allocation.items())

    def largest_uniform(self) -> int:
        """The most bits that all layers can have."""
        units = sum(self.sizes.values()) // self.unit
        return max(bits for bits in OPTIONS if bits * units <= self.capacity)


class BitAllocator(Method, family="quantization"):
    """Distributes a bit budget over layers. `sensitivity` says which estimate of alpha its problem carries."""

    sensitivity: Literal["noise", "fisher", "hessian"] = "noise"

    @abstractmethod
    def allocate(self, problem: Budget) -> dict[str, int]:
        """Bits of every layer, within the budget."""


def exact_optimum(problem: Budget) -> float:
    """Least predicted increase over all allocations, by integer programming (HiGHS): the oracle that allocators are measured against."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    names = list(problem.sizes)
    gain = np.array([problem.coefficients[name] * problem.error(bits) for name in names for bits in OPTIONS])
    cost = np.array([problem.sizes[name] // problem.unit * bits for name in names for bits in OPTIONS], dtype=float)
    one_each = np.kron(np.eye(len(names)), np.ones(len(OPTIONS)))
    solved = milp(
        gain / np.abs(gain).max(),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(cost[None], -np.inf, problem.capacity)],
        integrality=np.ones(len(gain)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    return float(gain @ np.round(solved.x))
