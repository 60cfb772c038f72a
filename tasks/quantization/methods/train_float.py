"""Training in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.quantization.training import Arithmetic, TrainingNumerics


class SinglePrecision(TrainingNumerics, name="train-float32", label="float32"):
    """Plain float32 throughout: what the others are held against."""

    def start(self, parameters: Sequence[Tensor], generator: torch.Generator) -> Arithmetic:
        return Arithmetic(parameters)
