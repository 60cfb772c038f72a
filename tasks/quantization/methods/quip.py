"""QuIP: make weights incoherent by random rotations, then round with linear feedback."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from kernels.quantization.hadamard import hadamard
from tasks.quantization.affine import half
from tasks.quantization.feedback import inverse_factor, prepare, sweep
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed, Part, Quantizer

RANGE = 2.4  #: half-width of the grid in root mean squares, as in QuIP


class Quip(Quantizer, name="quip", label="QuIP", knowledge=(CALIBRATION,)):
    """QuIP (Chee et al. 2023) with random Hadamard transforms on both sides, as in QuIP#, and one uniform grid for the whole matrix.

    Rotations act on blocks of the largest power of two that divides the dimension. LDLQ, the rounding with linear feedback, equals GPTQ.
    """

    bits: int = Field(2, ge=2, le=8)
    damping: float = Field(0.01, gt=0, description="share of the mean diagonal added to the diagonal")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        work, gram = prepare(weight, inputs.gram, 1)
        seeds = torch.randint(1 << 31, (2,), generator=generator)
        work = rotate(rotate(work, seeds[1]).T.contiguous(), seeds[0]).T.contiguous()
        gram = rotate(rotate(gram, seeds[1]).T.contiguous(), seeds[1])
        top = (1 << self.bits) - 1
        scale = half(2 * RANGE * work.square().mean().sqrt() / top)
        codes = torch.empty_like(work)

        def quantise(index: int, column: Tensor) -> Tensor:
            codes[:, index] = (column / scale + top / 2).round().clamp(0, top)
            return (codes[:, index] - top / 2) * scale

        sweep(work, inverse_factor(gram, self.damping), work.shape[1], lambda start, columns: None, quantise)
        parts = {"codes": Part(codes.to(torch.int32), self.bits), "scale": Part(scale.half().reshape(1), 16), "seeds": Part(seeds, 31)}
        return Packed(parts)

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        top = (1 << packed.parts["codes"].bits) - 1
        work = (packed["codes"].float() - top / 2) * packed["scale"].float()
        return unrotate(unrotate(work.T.contiguous(), packed["seeds"][0]).T.contiguous(), packed["seeds"][1])


def _blocks(n: int) -> int:
    return n & -n


def _signs(seed: Tensor, n: int) -> Tensor:
    return torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(int(seed))).float() * 2 - 1


def rotate(x: Tensor, seed: Tensor) -> Tensor:
    """Random signs and a blockwise Hadamard transform of the last axis: x S H."""
    n = x.shape[-1]
    return hadamard((x * _signs(seed, n)).reshape(*x.shape[:-1], -1, _blocks(n))).reshape(x.shape)


def unrotate(x: Tensor, seed: Tensor) -> Tensor:
    """Inverse of `rotate`."""
    n = x.shape[-1]
    return hadamard(x.reshape(*x.shape[:-1], -1, _blocks(n))).reshape(x.shape) * _signs(seed, n)
