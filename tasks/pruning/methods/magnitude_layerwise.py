"""Layerwise magnitude pruning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest_per_layer


class MagnitudeLayerwise(Pruner, name="magnitude-layerwise", label="Layerwise magnitude"):
    """Keeps the weights of largest magnitude in each layer, every layer at the same sparsity."""

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        scores = [np.abs(weight) for weight in network.weights]
        return [keep_largest_per_layer(network, scores, count) for count in keep]
