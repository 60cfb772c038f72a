"""Global magnitude pruning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest


class Magnitude(Pruner, name="magnitude", label="Global magnitude"):
    """Keeps the weights of largest magnitude in the whole network (Han et al. 2015, with one threshold for all layers)."""

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        scores = [np.abs(weight) for weight in network.weights]
        return [keep_largest(network, scores, count) for count in keep]
