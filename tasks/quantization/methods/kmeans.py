"""Codebooks fitted to each row by Lloyd's algorithm."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from kernels.quantization.grids import lloyd_max
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed, Part, Quantizer


class Kmeans(Quantizer, name="kmeans", label="k-means", knowledge=(CALIBRATION,)):
    """A float16 codebook of 2^bits values per output, by weighted 1-d k-means (SqueezeLLM, Kim et al. 2023).

    Each weight counts as much as its input's energy on the calibration text, or the same (`weighted=False`).
    Costs bits + 16 2^bits / in bits per weight.
    """

    bits: int = Field(3, ge=1, le=6)
    weighted: bool = True
    iterations: int = Field(30, ge=1)

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        energy = inputs.gram.diagonal().float().clamp(min=1e-12) if self.weighted else torch.ones(weight.shape[1])
        values, order = weight.sort(1)
        mass = energy[order]
        deviation = weight.std(1, keepdim=True).clamp(min=1e-12)
        book = weight.mean(1, keepdim=True) + deviation * torch.tensor(lloyd_max(1 << self.bits)).float()
        total = torch.nn.functional.pad(mass.double().cumsum(1), (1, 0))
        moment = torch.nn.functional.pad((mass * values).double().cumsum(1), (1, 0))
        for _ in range(self.iterations):
            # Sorted values: a cell is a run between two edges, its mean a difference of cumulative sums.
            edges = torch.searchsorted(values, (book[:, 1:] + book[:, :-1]) / 2)
            edges = torch.nn.functional.pad(edges, (1, 1))
            edges[:, -1] = values.shape[1]
            weight_of = total.gather(1, edges).diff(dim=1)
            mean = (moment.gather(1, edges).diff(dim=1) / weight_of.clamp(min=1e-30)).float()
            book = torch.where(weight_of > 0, mean, book).sort(1).values
        book = book.clamp(-65504, 65504).half()
        levels = book.float()
        codes = torch.searchsorted((levels[:, 1:] + levels[:, :-1]) / 2, weight.contiguous())
        return Packed({"codes": Part(codes, self.bits), "book": Part(book, 16)})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return packed["book"].float().gather(1, packed["codes"].long())
