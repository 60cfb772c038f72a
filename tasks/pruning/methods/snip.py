"""First-order saliency pruning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.mlp import Mlp
from kernels.pruning.derivatives import mean_gradient
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest


class Snip(Pruner, name="snip", label="SNIP (first order)"):
    """Keeps the weights of largest |w dL/dw|, the first-order effect of removing one (Lee, Ajanthan and Torr 2019, SNIP).

    L is the mean cross-entropy over the training data. Made for networks at initialisation: where training has converged, the gradient
    is noise and so is the score.
    """

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        gradients = mean_gradient(network, data.inputs, data.labels)
        scores = [np.abs(weight * gradient) for weight, gradient in zip(network.weights, gradients, strict=True)]
        return [keep_largest(network, scores, count) for count in keep]
