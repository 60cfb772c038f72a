"""M-FAC pruning (paper 207)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from kernels.mlp import Mlp
from kernels.pruning.derivatives import batch_gradients
from kernels.pruning.inverse_fisher import InverseFisher
from tasks.pruning.protocol import Layers, Pruner, TrainingData, split_like


class MFac(Pruner, name="mfac", label="M-FAC", paper=207):
    """Optimal brain surgeon with a matrix-free inverse of the empirical Fisher matrix, in blocks of consecutive weights.

    Paper 207, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information", static algorithm. Prunes the weights of smallest
    w^2 / (2 [F^-1]_ii), then moves the survivors by the sum of the single-weight updates, - F^-1 e_i w_i / [F^-1]_ii.
    Defaults for gradients, block and damping are the released code's. Each gradient is the mean over a batch. With `recomputations` above 1
    the network is pruned in as many steps of equal factor in density, and the Fisher matrix of the survivors is estimated anew at each, on
    the same batches.
    """

    gradients: int = Field(64, ge=1, le=1024, description="gradients in the Fisher estimate")
    batch: int = Field(32, ge=1, le=1000, description="training rows averaged into one gradient")
    block: int | None = Field(128, ge=1, description="weights in a block; null for one block of all weights")
    damping: float = Field(1e-5, gt=0, description="added to the Fisher matrix's diagonal")
    update: Literal["obs", "none"] = Field("obs", description="whether surviving weights are moved")
    recomputations: int = Field(1, ge=1, le=64, description="steps in which each sparsity is reached, each with a new Fisher estimate")

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        dense = np.concatenate([weight.ravel() for weight in network.weights])
        batches = self._batches(len(data.labels), rng)
        everything = np.arange(len(dense))
        first = self._fisher(network, data, batches, everything)
        results = []
        for count in keep:
            weights, alive, fisher = dense.astype(np.float64), everything, first
            for step in range(1, self.recomputations + 1):
                if len(alive) <= count:
                    break
                if step > 1:
                    current = Mlp(tuple(split_like(weights.astype(np.float32), network.weights)), network.biases)
                    fisher = self._fisher(current, data, batches, alive)
                target = count if step == self.recomputations else round(len(dense) * (count / len(dense)) ** (step / self.recomputations))
                weights, alive = self._step(weights, alive, fisher, target)
            results.append(split_like(weights.astype(np.float32), network.weights))
        return results

    def _batches(self, rows: int, rng: np.random.Generator) -> list[np.ndarray]:
        needed = self.gradients * self.batch
        order = np.concatenate([rng.permutation(rows) for _ in range(-(-needed // rows))])[:needed]
        return np.split(order, self.gradients)

    def _fisher(self, network: Mlp, data: TrainingData, batches: Sequence[np.ndarray], alive: np.ndarray) -> InverseFisher:
        return InverseFisher(batch_gradients(network, data.inputs, data.labels, batches)[:, alive], self.damping, self.block)

    def _step(self, weights: np.ndarray, alive: np.ndarray, fisher: InverseFisher, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The weights after pruning to `count` survivors, and the survivors' places; `fisher` covers the places in `alive`."""
        values, diagonal = weights[alive], fisher.diagonal()
        order = np.argsort(values**2 / (2 * diagonal), kind="stable")
        dropped = np.zeros(len(alive), dtype=bool)
        dropped[order[: len(alive) - count]] = True
        if self.update == "obs":
            values = values - fisher.multiply(np.where(dropped, values / diagonal, 0.0))
        pruned = np.zeros_like(weights)
        pruned[alive] = np.where(dropped, 0.0, values)
        return pruned, alive[~dropped]
