"""Layer-adaptive magnitude pruning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest


class Lamp(Pruner, name="lamp", label="LAMP"):
    """Global pruning by w^2 divided by the sum of the squares of the layer's weights that are at least as large (Lee et al. 2021, LAMP)."""

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        scores = [lamp_scores(weight) for weight in network.weights]
        return [keep_largest(network, scores, count) for count in keep]


def lamp_scores(weight: np.ndarray) -> np.ndarray:
    """The LAMP score of each entry of a layer's weights, same shape, float64; the largest weight of a layer scores 1."""
    squares = weight.ravel().astype(np.float64) ** 2
    order = np.argsort(-squares, kind="stable")
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.cumsum(squares[order])
    return scores.reshape(weight.shape)
