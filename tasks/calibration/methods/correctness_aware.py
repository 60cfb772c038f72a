"""Correctness-aware calibration (paper 200)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from kernels.calibration.temperature import optimal_temperature
from kernels.mlp import one_torch_thread, softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled, Outputs
from tasks.calibration.views import TRANSFORMS, Transform

if TYPE_CHECKING:
    import torch

#: The network's temperature is clamped to this range, as in the authors' code.
LOWEST, HIGHEST = 0.1, 10.0


class CorrectnessAware(Calibrator, name="correctness-aware", label="Correctness-aware calibration", paper=200):
    """A small network sees how transformed copies of an input are classified and sets that input's temperature T; predictions never change.

    Paper 200, "Optimizing Calibration by Gaining Aware of Prediction Correctness". Features: each transformed copy's softmax at the
    *original's* top-k classes. Network: Linear(transforms x k, hidden), ReLU, Linear(hidden, 1), T clamped to [0.1, 10]. Loss per row:
    (confidence at T - [prediction is right])^2; with `balanced`, right rows weigh 1 - a and wrong rows a, where a is the calibration
    accuracy. Adam on the whole split. The output bias starts at the temperature-scaling optimum, too far away for some hundred steps.
    The released code makes 10 epochs of batches of 1,000 at lr 1e-4, on 400 rows 10 steps that change nothing: hence 200 steps at 1e-2.
    `objective: cross-entropy` trains the same network on the likelihood of the label (the paper's main ablation).
    """

    transforms: tuple[Transform, ...] = Field(TRANSFORMS, min_length=1, description="which transformed copies the network sees")
    top_k: int = Field(4, ge=1, le=10, description="classes of the original whose probabilities are read off each copy")
    hidden: int = Field(5, ge=1, le=256)
    lr: float = Field(1e-2, gt=0)
    steps: int = Field(200, ge=1, le=10_000)
    objective: Literal["correctness", "cross-entropy"] = "correctness"
    balanced: bool = Field(True, description="weigh right and wrong predictions so that both classes count the same")

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        import torch

        with one_torch_thread():
            logits, labels = torch.tensor(calibration.logits), torch.tensor(calibration.labels)
            features = torch.tensor(self.features(calibration.outputs))
            correct = (logits.argmax(dim=1) == labels).double()
            accuracy = correct.mean()
            weights = correct * (1 - accuracy) + (1 - correct) * accuracy if self.balanced else torch.ones_like(correct)
            if weights.sum() == 0:  # every prediction is right (or wrong): nothing to balance
                weights = torch.ones_like(correct)
            parameters = self._start(features.shape[1], optimal_temperature(calibration.logits, calibration.labels), rng)
            optimizer = torch.optim.Adam(parameters, lr=self.lr)
            for _ in range(self.steps):
                optimizer.zero_grad()
                scaled = logits / temperatures(parameters, features)[:, None]
                if self.objective == "correctness":
                    losses = (torch.softmax(scaled, dim=1).amax(dim=1) - correct) ** 2
                else:
                    losses = torch.nn.functional.cross_entropy(scaled, labels, reduction="none")
                ((losses * weights).sum() / weights.sum()).backward()
                optimizer.step()

        def calibrate(outputs: Outputs) -> np.ndarray:
            with torch.no_grad(), one_torch_thread():
                temperature = temperatures(parameters, torch.tensor(self.features(outputs))).numpy()
            return softmax(outputs.logits / temperature[:, None])

        return calibrate

    def features(self, outputs: Outputs) -> np.ndarray:
        """[n, transforms x top_k]: probabilities that the copies give to the original's most probable classes."""
        top = np.argsort(-outputs.logits, axis=1, kind="stable")[:, : self.top_k]
        return np.concatenate([np.take_along_axis(softmax(outputs.transformed[name]), top, axis=1) for name in self.transforms], axis=1)

    def _start(self, inputs: int, temperature: float, rng: np.random.Generator) -> list[torch.Tensor]:
        import torch

        def uniform(shape: tuple[int, ...], fan_in: int) -> torch.Tensor:
            return torch.tensor(rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape)).requires_grad_()

        bias = torch.tensor(float(np.clip(temperature, LOWEST, HIGHEST)), dtype=torch.float64).requires_grad_()
        return [uniform((self.hidden, inputs), inputs), uniform((self.hidden,), inputs), uniform((self.hidden,), self.hidden), bias]


def temperatures(parameters: list[torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """The network's temperature [n] for features [n, inputs]."""
    first, first_bias, second, second_bias = parameters
    return ((features @ first.T + first_bias).relu() @ second + second_bias).clamp(LOWEST, HIGHEST)
