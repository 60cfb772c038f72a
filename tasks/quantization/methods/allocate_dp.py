"""Dynamic programming over layers and budget."""

from __future__ import annotations

import numpy as np

from tasks.quantization.allocation import OPTIONS, BitAllocator, Budget


class DynamicProgramming(BitAllocator, name="allocate-dp", label="DP bits", paper=6):
    """Paper 6, "Pushing the Limits of Large Language Model Quantization via the Linearity Theorem": with the increase a sum over layers,
    the best allocation is a knapsack, solved exactly in O(layers x budget x options)."""

    def allocate(self, problem: Budget) -> dict[str, int]:
        best = np.zeros(problem.capacity + 1)  # least increase of the layers so far at each budget
        choices = []
        for name, size in problem.sizes.items():
            units = size // problem.unit
            table = np.full((len(OPTIONS), len(best)), np.inf)
            for row, bits in zip(table, OPTIONS, strict=True):
                cost = units * bits
                if cost < len(best):
                    row[cost:] = best[: len(best) - cost] + problem.coefficients[name] * problem.error(bits)
            choices.append(table.argmin(0))
            best = table.min(0)
        left, allocation = problem.capacity, {}
        for name, choice in zip(reversed(list(problem.sizes)), reversed(choices), strict=True):
            allocation[name] = OPTIONS[choice[left]]
            left -= problem.sizes[name] // problem.unit * allocation[name]
        return {name: allocation[name] for name in problem.sizes}
