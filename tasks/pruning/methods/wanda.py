"""Pruning by weights and activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData


class Wanda(Pruner, name="wanda", label="Wanda"):
    """Keeps, in each output's row, the weights of largest |w| times the norm of the input they see (Sun et al. 2024, Wanda).

    Every row of every layer gets the same share, rounded down.
    """

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        norms = [np.linalg.norm(values, axis=0) for values in network.activations(data.inputs)[:-1]]
        orders = [np.argsort(-np.abs(weight) * norm, axis=1, kind="stable") for weight, norm in zip(network.weights, norms, strict=True)]
        total = sum(weight.size for weight in network.weights)
        results = []
        for count in keep:
            pruned = []
            for weight, order in zip(network.weights, orders, strict=True):
                kept = np.zeros(weight.shape, dtype=bool)
                np.put_along_axis(kept, order[:, : count * weight.shape[1] // total], True, axis=1)
                pruned.append(weight * kept)
            results.append(pruned)
        return results
