"""Random pruning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest


class Random(Pruner, name="random", label="Random"):
    """Weights survive by lot, whatever their layer: what every criterion must beat."""

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        scores = [rng.random(weight.shape) for weight in network.weights]
        return [keep_largest(network, scores, count) for count in keep]
