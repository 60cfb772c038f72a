"""Spend the budget where the next bits help most."""

from __future__ import annotations

from tasks.quantization.allocation import OPTIONS, BitAllocator, Budget


class Greedy(BitAllocator, name="allocate-greedy", label="Greedy bits"):
    """Starts every layer at the fewest bits and keeps widening the layer with the largest predicted gain per bit that still fits."""

    def allocate(self, problem: Budget) -> dict[str, int]:
        allocation = dict.fromkeys(problem.sizes, OPTIONS[0])
        while True:
            steps = []
            for name, bits in allocation.items():
                if bits == OPTIONS[-1]:
                    continue
                wider = OPTIONS[OPTIONS.index(bits) + 1]
                units = problem.sizes[name] // problem.unit * (wider - bits)
                if problem.cost(allocation) + units <= problem.capacity:
                    gain = problem.coefficients[name] * (problem.error(bits) - problem.error(wider))
                    steps.append((gain / units, name, wider))
            if not steps:
                return allocation
            _, name, wider = max(steps)
            allocation[name] = wider
