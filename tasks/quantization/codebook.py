"""Four-bit codes into a fixed table with one float32 absolute maximum per block, as bitsandbytes stores them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.quantization.dequantize import lookup
from kernels.quantization.nearest import nearest
from tasks.quantization.protocol import Packed, Part


def encode(weight: Tensor, levels: Tensor, block: int) -> Packed:
    """Blocks run over the flattened matrix, the last one padded with zeros. Code of a weight: the nearest level, by comparison with the
    midpoints in float32 (a value on a midpoint takes the lower level). `levels` ascends."""
    flat = weight.reshape(-1)
    blocks = F.pad(flat, (0, -len(flat) % block)).reshape(-1, block)
    largest = blocks.abs().amax(1, keepdim=True)
    scaled = blocks / torch.where(largest > 0, largest, 1.0)
    codes = nearest(scaled.reshape(-1, 1), levels[:, None]).long()
    return Packed({"codes": Part(codes[: len(flat)], 4), "scales": Part(largest, 32)})


def decode(packed: Packed, levels: Tensor, block: int, shape: tuple[int, int]) -> Tensor:
    """The matrix that `encode` stored."""
    scales = packed["scales"].float().expand(-1, block).reshape(-1)
    values = torch.from_numpy(lookup(packed["codes"].to(torch.uint8).numpy(), levels[:, None].numpy()))[:, 0]
    return (values * scales[: shape[0] * shape[1]]).reshape(shape)
