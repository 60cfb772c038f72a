"""Reverse water-filling: the classical high-rate allocation."""

from __future__ import annotations

import numpy as np

from tasks.quantization.allocation import OPTIONS, BitAllocator, Budget


class WaterFilling(BitAllocator, name="allocate-waterfill", label="Water-filling bits", paper=188):
    """Paper 188, "Optimizing Large Language Models through Quantization: A Comparative Analysis of PTQ and QAT Techniques": layerwise bits
    from sensitivity and variance. Read as the high-rate optimum b_l = b + log2(alpha_l / size_l over its weighted geometric mean) / 2,
    rounded to the options; then the layers that lose least give way until the budget holds."""

    def allocate(self, problem: Budget) -> dict[str, int]:
        names = list(problem.sizes)
        sizes = np.array([problem.sizes[name] for name in names], dtype=float)
        density = np.log2(np.maximum([problem.coefficients[name] for name in names], 1e-12) / sizes)
        ideal = problem.average + 0.5 * (density - np.average(density, weights=sizes))
        allocation = {name: min(OPTIONS, key=lambda bits: abs(bits - value)) for name, value in zip(names, ideal, strict=True)}
        while problem.cost(allocation) > problem.capacity:
            narrower = {name: OPTIONS[OPTIONS.index(bits) - 1] for name, bits in allocation.items() if bits > OPTIONS[0]}
            loss = {
                name: problem.coefficients[name]
                * (problem.error(bits) - problem.error(allocation[name]))
                / (problem.sizes[name] * (allocation[name] - bits))
                for name, bits in narrower.items()
            }
            name = min(loss, key=lambda name: loss[name])
            allocation[name] = narrower[name]
        return allocation
