"""SparseGPT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData


class SparseGpt(Pruner, name="sparsegpt", label="SparseGPT"):
    """Layer by layer, optimal brain surgeon on the layer's squared output error, in one sweep over its columns (Frantar and Alistarh 2023).

    A column's pruned weights are compensated by the columns after it, along rows of the Cholesky factor of the inverse of X^T X; X is what
    enters the layer once the layers before it are pruned. In each block of columns the weights of smallest w^2 / U_jj^2 go, the same
    share everywhere, rounded up.
    """

    block: int = Field(128, ge=1, description="columns among which a sparsity holds")
    damping: float = Field(0.01, gt=0, description="share of the mean diagonal added to the diagonal of X^T X")

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        total = sum(weight.size for weight in network.weights)
        results = []
        for count in keep:
            pruned: list[np.ndarray] = []
            for layer, weight in enumerate(network.weights):
                inputs = Mlp((*pruned, weight), network.biases[: layer + 1]).activations(data.inputs)[layer]
                pruned.append(self.prune_layer(weight, inputs, count, total))
            results.append(pruned)
        return results

    def prune_layer(self, weight: np.ndarray, inputs: np.ndarray, kept: int, of: int) -> np.ndarray:
        """weight [outputs, inputs] with `kept` of every `of` weights left, rounded down per block; inputs [n, inputs] are what it sees."""
        gram = inputs.astype(np.float64).T @ inputs
        values = np.where(gram.diagonal() > 0, weight, 0.0).astype(np.float64)  # an input that is always zero needs no weight
        gram[np.diag_indices_from(gram)] += self.damping * gram.diagonal().mean()
        factor = np.linalg.cholesky(np.linalg.inv(gram)).T
        for start in range(0, values.shape[1], self.block):
            columns = slice(start, min(start + self.block, values.shape[1]))
            scores = (values[:, columns] / factor.diagonal()[columns]) ** 2
            mask = np.zeros(scores.shape, dtype=bool)
            mask.flat[np.argsort(-scores.ravel(), kind="stable")[: scores.size * kept // of]] = True
            for column in range(columns.start, columns.stop):
                error = np.where(mask[:, column - start], 0.0, values[:, column]) / factor[column, column]
                values[:, column:] -= np.outer(error, factor[column, column:])
            values[:, columns] *= mask
        return values.astype(np.float32)
