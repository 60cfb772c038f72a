"""VQ-APC: a recurrent network that predicts the future through a codebook."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.quantization.predictive_codes import FrameCodes, FrameEncoder


class VqApc(FrameEncoder, name="codes-vq-apc", label="VQ-APC", paper=179):
    """Paper 179, "Vector-Quantized Autoregressive Predictive Coding": a GRU reads the frames so far; logits over the codebook are a linear
    function of its state; the code is drawn by straight-through Gumbel softmax in training, the largest logit afterwards; a linear map of
    the code's vector predicts the frame `ahead` steps later in absolute error. The paper has three GRU layers of 512; here one."""

    codes: int = Field(64, ge=2, le=4096, description="size of the codebook")
    hidden: int = Field(64, ge=4, description="units of the GRU; dimensions of a code's vector")
    temperature: float = Field(0.5, gt=0, description="of the Gumbel softmax")
    epochs: int = Field(30, ge=1)
    batch: int = Field(32, ge=1, description="utterances per step")
    rate: float = Field(1e-2, gt=0, description="Adam's learning rate, falling along a cosine")

    def fit(self, frames: np.ndarray, ahead: int, rng: np.random.Generator) -> FrameCodes:
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        x = torch.from_numpy(frames)
        mean, deviation = x.mean((0, 1)), x.std((0, 1))
        x = (x - mean) / deviation
        width = x.shape[2]
        gru, choose = nn.GRU(width, self.hidden, batch_first=True), nn.Linear(self.hidden, self.codes)
        book, predict = nn.Linear(self.codes, self.hidden, bias=False), nn.Linear(self.hidden, width)
        network = nn.ModuleList([gru, choose, book, predict])
        for parameter in network.parameters():
            bound = 1 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.0
            parameter.data = (2 * torch.rand(parameter.shape, generator=generator) - 1) * bound
        book.weight.data *= self.codes**0.5  # a code picks one column: vectors should not shrink with the codebook
        steps = self.epochs * -(-len(x) // self.batch)
        adam = torch.optim.Adam(network.parameters(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=generator).split(self.batch):
                logits = choose(gru(x[rows, :-ahead])[0])
                loss = F.l1_loss(predict(book(self._draw(logits, generator))), x[rows, ahead:])
                adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                adam.step()
                schedule.step()

        def encode(new: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return choose(gru((torch.from_numpy(new) - mean) / deviation)[0]).argmax(2).numpy()

        with torch.no_grad():
            predictions = predict(book.weight.T) * deviation + mean
        return FrameCodes(encode, self.codes, predictions.numpy())

    def _draw(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """One-hot codes whose gradient is that of the softmax of logits with Gumbel noise."""
        uniform = torch.rand(logits.shape, generator=generator).clamp(min=1e-20)
        soft = ((logits - (-uniform.log()).clamp(min=1e-20).log()) / self.temperature).softmax(-1)
        hard = F.one_hot(soft.argmax(-1), self.codes).to(soft.dtype)
        return hard + soft - soft.detach()
