"""Temperature scaling as its recipe is copied everywhere."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.mlp import one_torch_thread, softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class TemperatureLbfgs(Calibrator, name="temperature-lbfgs", label="Temperature (copied LBFGS recipe)"):
    """Temperature scaling with the optimiser settings released with Guo et al. 2017: LBFGS, lr 0.01, 50 iterations, from T = 1.5.

    A documented trap, kept as a baseline: with that step size the solver stops far short of an optimum that is far from 1.5, and results
    published as "temperature scaling" depend on it. Compare with `temperature`.
    """

    lr: float = Field(0.01, gt=0)
    max_iter: int = Field(50, ge=1)
    start: float = Field(1.5, gt=0)

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        temperature = published_temperature(calibration.logits, calibration.labels, self.lr, self.max_iter, self.start)
        return lambda outputs: softmax(outputs.logits / temperature)


def published_temperature(logits: np.ndarray, labels: np.ndarray, lr: float, max_iter: int, start: float) -> float:
    """The temperature that torch's LBFGS reaches in one call of `step`, float32, on logits [n, classes] and labels [n]."""
    import torch

    with one_torch_thread():
        z, y = torch.tensor(logits, dtype=torch.float32), torch.tensor(labels)
        temperature = torch.full((1,), start, requires_grad=True)
        optimizer = torch.optim.LBFGS([temperature], lr=lr, max_iter=max_iter)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(z / temperature, y)
            loss.backward()
            return loss

        optimizer.step(closure)
        return float(temperature.detach())
