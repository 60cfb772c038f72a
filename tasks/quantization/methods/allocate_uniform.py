"""The same bits for every layer."""

from __future__ import annotations

from tasks.quantization.allocation import BitAllocator, Budget


class Uniform(BitAllocator, name="allocate-uniform", label="Uniform bits"):
    """The most bits that every layer can have: the baseline of mixed precision."""

    def allocate(self, problem: Budget) -> dict[str, int]:
        return dict.fromkeys(problem.sizes, problem.largest_uniform())
