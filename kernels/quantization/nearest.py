"""Nearest point of a grid of one or two dimensions, exactly.

One dimension: a value's index is the number of midpoints below it; up to six levels that is counted without branches, above that a table of
equal bins, each crossed by at most one midpoint, leaves one comparison. Two dimensions: a table of square cells lists the only points that
can be nearest to anything in the cell. Floor: one read of the vectors and one write of the codes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

CHUNK = 1 << 14  #: vectors per distance table of the reference
COUNTED = 6  #: levels up to which counting midpoints beats a table
BINS = 4096  #: most bins of the 1-d table
CELLS = 96  #: cells per axis of the 2-d table
REACH = 5.0  #: half-width of the 2-d table; vectors outside are compared with every point


def nearest_reference(vectors: Tensor, grid: Tensor) -> Tensor:
    """Index of the closest grid point of each of [m, p] float32 vectors, [m] int64; `grid` is [n, p], ascending where p = 1.

    Distances are compared in float32; a tie takes the lower index; a vector with NaN gets 0.
    """
    if grid.shape[1] == 1:
        middle = (grid[1:, 0] + grid[:-1, 0]) / 2
        return torch.where(vectors[:, 0].isnan(), 0, torch.bucketize(vectors[:, 0].contiguous(), middle))
    parts = []
    for chunk in vectors.split(CHUNK):
        distance = (chunk[:, None] - grid).square()
        parts.append(torch.where(chunk.isnan().any(1), 0, (distance[..., 0] + distance[..., 1]).nan_to_num(torch.inf).argmin(1)))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)


def nearest(vectors: Tensor, grid: Tensor) -> Tensor:
    """The same indices, fast on the CPU: [m] uint8 for up to 256 points, int32 for up to 65,536 (int64 from the reference otherwise)."""
    if vectors.dtype != torch.float32 or vectors.device.type != "cpu" or len(grid) > 1 << 16:
        return nearest_reference(vectors, grid)
    data = vectors.detach().contiguous().numpy()
    points = np.ascontiguousarray(grid.detach().numpy(), dtype=np.float32)
    out = np.empty(len(data), dtype=np.uint8 if len(grid) <= 256 else np.uint16)
    if grid.shape[1] == 1:
        _nearest_line(data.reshape(-1), points.reshape(-1), out)
    else:
        start, candidates = _cells(points.tobytes(), len(points))
        _nearest_plane(data, points, start, candidates, np.float32(REACH), CELLS, out)
    return torch.from_numpy(out if len(grid) <= 256 else out.astype(np.int32))


def _nearest_line(x: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    middle = (levels[1:] + levels[:-1]) / np.float32(2)
    if len(levels) <= COUNTED:
        _count_below(x, middle, out)
        return
    table = _bins(middle.tobytes())
    if table is None:
        bad = np.isnan(x)
        out[:] = np.where(bad, 0, np.searchsorted(middle, x, side="left"))
        return
    _binned(x, np.append(middle, np.float32(np.inf)), middle[0], np.float32((len(table) - 1) / (middle[-1] - middle[0])), table, out)


@njit(cache=True, nogil=True)
def _count_below(x: np.ndarray, middle: np.ndarray, out: np.ndarray) -> None:
    block = 2048  # the counts of a block stay in the first-level cache
    count = np.empty(block, dtype=np.float32)  # as wide as the values, so that comparisons need no repacking
    for start in range(0, len(x), block):
        size = min(block, len(x) - start)
        part, sums = x[start : start + size], count[:size]
        for i in range(size):
            sums[i] = np.float32(0)
        for k in range(len(middle)):
            m = middle[k]
            for i in range(size):
                sums[i] += np.float32(1) if part[i] > m else np.float32(0)
        for i in range(size):
            out[start + i] = np.int32(sums[i])


@lru_cache(maxsize=16)
def _bins(data: bytes) -> np.ndarray | None:
    """For each of K bins between the first and the last midpoint, the number of midpoints below it; None when no K up to BINS separates
    them. A bin's neighbours are counted in, because the bin of a value is computed in float32."""
    middle = np.frombuffer(data, dtype=np.float32)
    gap, width = np.diff(middle).min(), middle[-1] - middle[0]
    if not gap > 0 or width / gap * 2.5 > BINS:
        return None
    k = int(np.ceil(width / gap * 2.5)) + 1
    scale = np.float32((k - 1) / width)
    position = ((middle - middle[0]) * scale).astype(np.int64)
    return np.searchsorted(position, np.arange(k), side="left").astype(np.uint16)


@njit(cache=True, nogil=True)
def _binned(x: np.ndarray, middle: np.ndarray, low: np.float32, scale: np.float32, table: np.ndarray, out: np.ndarray) -> None:
    top = np.float32(len(table) - 1)
    block = 1024
    bins = np.empty(block, dtype=np.int32)
    for start in range(0, len(x), block):
        size = min(block, len(x) - start)
        part, places = x[start : start + size], bins[:size]
        for i in range(size):
            place = (part[i] - low) * scale
            place = place if place > np.float32(0) else np.float32(0)  # NaN goes to 0, too
            places[i] = np.int32(place if place < top else top)
        for i in range(size):
            index = table[np.uint32(places[i])]
            # The midpoint inside the value's own bin, if there is one, decides.
            out[start + i] = index + np.uint16(1) if part[i] > middle[index] else index


@lru_cache(maxsize=8)
def _cells(data: bytes, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [CELLS^2 + 1] and candidate points: those not farther from the cell's nearest corner than some other point is from its
    farthest. Distances get a relative slack for float32."""
    points = np.frombuffer(data, dtype=np.float32).reshape(n, 2).astype(np.float64)
    edges = np.linspace(-REACH, REACH, CELLS + 1)
    low, high = edges[:-1], edges[1:]
    slack = 1e-4 * (high[0] - low[0])
    low, high = low - slack, high + slack
    inside = [np.maximum(np.maximum(low[:, None] - points[:, axis], points[:, axis] - high[:, None]), 0) ** 2 for axis in (0, 1)]
    outside = [np.maximum(np.abs(low[:, None] - points[:, axis]), np.abs(high[:, None] - points[:, axis])) ** 2 for axis in (0, 1)]
    least = inside[0][:, None] + inside[1][None]
    most = (outside[0][:, None] + outside[1][None]).min(-1, keepdims=True)
    chosen = (least <= most * (1 + 1e-5)).reshape(CELLS * CELLS, n)
    start = np.zeros(len(chosen) + 1, dtype=np.int64)
    start[1:] = np.cumsum(chosen.sum(1))
    return start, np.nonzero(chosen)[1].astype(np.uint16)


@njit(cache=True, nogil=True)
def _nearest_plane(
    vectors: np.ndarray, points: np.ndarray, start: np.ndarray, candidates: np.ndarray, reach: np.float32, cells: int, out: np.ndarray
) -> None:
    scale = np.float32(cells) / (np.float32(2) * reach)
    for i in range(len(vectors)):
        x, y = vectors[i, 0], vectors[i, 1]
        best, index = np.float32(np.inf), 0
        if abs(x) < reach and abs(y) < reach:
            cell = min(int((x + reach) * scale), cells - 1) * cells + min(int((y + reach) * scale), cells - 1)
            for k in range(start[cell], start[cell + 1]):
                c = candidates[k]
                dx, dy = x - points[c, 0], y - points[c, 1]
                distance = dx * dx + dy * dy
                if distance < best:
                    best, index = distance, c
        else:
            for c in range(len(points)):
                dx, dy = x - points[c, 0], y - points[c, 1]
                distance = dx * dx + dy * dy
                if distance < best:
                    best, index = distance, c
        out[i] = index
