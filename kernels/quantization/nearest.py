"""Nearest point of a grid."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 15  #: vectors per distance table, so that the table of 256 columns stays near the last-level cache


def nearest_reference(vectors: Tensor, grid: Tensor) -> Tensor:
    """Index of the closest grid point of each of [m, p] vectors, [m] int64; `grid` is [n, p]. A tie takes the lower index."""
    if grid.shape[1] == 1:
        levels, order = torch.sort(grid[:, 0])
        return order[torch.bucketize(vectors[:, 0].contiguous(), (levels[1:] + levels[:-1]) / 2)]
    half_norms = grid.square().sum(1) / 2
    return torch.cat([(chunk @ grid.T - half_norms).argmax(1) for chunk in vectors.split(CHUNK)])
