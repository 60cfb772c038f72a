"""Optimal brain damage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from kernels.mlp import Mlp
from kernels.pruning.derivatives import empirical_fisher_diagonal, hessian_diagonal
from tasks.pruning.protocol import Layers, Pruner, TrainingData, keep_largest


class OptimalBrainDamage(Pruner, name="obd", label="Optimal brain damage (diagonal)"):
    """Keeps the weights of largest w^2 H_ii / 2, the second-order effect of removal with a diagonal Hessian (LeCun, Denker and Solla 1990).

    The Hessian's diagonal is exact for a ReLU network, where it equals the Gauss-Newton matrix's; `empirical-fisher` takes squared
    gradients at the true labels instead.
    """

    curvature: Literal["hessian", "empirical-fisher"] = Field("hessian", description="which diagonal stands for the loss's curvature")

    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        diagonal = hessian_diagonal if self.curvature == "hessian" else empirical_fisher_diagonal
        curvatures = diagonal(network, data.inputs, data.labels)
        scores = [weight.astype(np.float64) ** 2 * curvature / 2 for weight, curvature in zip(network.weights, curvatures, strict=True)]
        return [keep_largest(network, scores, count) for count in keep]
