"""Quantization grids that minimise the mean squared error for a standard normal vector of 1 or 2 dimensions.

One dimension: the Lloyd-Max quantizer, unique for the normal density, solved to machine precision by Newton's method on the centroid
condition. Two dimensions: Lloyd's algorithm on a fine quadrature of the plane; the best of several starts is shipped in `grids.npz`
(`python -m kernels.quantization.grids` makes it anew).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import ndtr

FILE = Path(__file__).with_name("grids.npz")
#: Half-width of the quadrature: the mass outside is 2e-8 per axis.
HALF_WIDTH = 5.6
#: Spacing of the quadrature: coarse to choose among starts, fine (a tenth of the finest cell of 256 points) to polish the best.
COARSE, FINE = 0.05, 0.014


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


def _cells(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges [n + 1], masses [n] and first moments [n] of the levels' cells under N(0, 1)."""
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    # Masses from the tail on the cell's own side, so that far cells do not cancel.
    upper = edges[:-1] > 0
    mass = np.where(upper, ndtr(-edges[:-1]) - ndtr(-edges[1:]), ndtr(edges[1:]) - ndtr(edges[:-1]))
    return edges, mass, _density(edges[:-1]) - _density(edges[1:])


@cache
def lloyd_max(n: int) -> np.ndarray:
    """The n ascending levels, float64, that minimise E[(x - Q(x))^2] for x ~ N(0, 1). 1 <= n <= 1024 (ValueError otherwise).

    Source: Lloyd 1957/1982; Max 1960. Symmetric about 0; every level is the mean of its cell to 1e-12.
    """
    if not 1 <= n <= 1024:
        raise ValueError(f"A Lloyd-Max grid has 1 to 1024 levels, not {n}.")
    # Companding start: optimal point density is proportional to the cube root of the density, i.e. N(0, 3).
    from scipy.linalg import solve_banded
    from scipy.special import ndtri

    levels = np.sqrt(3.0) * ndtri((np.arange(n) + 0.5) / n)
    for _ in range(200):
        edges, mass, moment = _cells(levels)
        gap = moment / mass - levels
        if np.abs(gap).max() < 1e-13:
            break
        # d(centroid)/d(edge) = density(edge) (edge - centroid) / mass with the sign of the side; an edge moves half with each neighbour.
        centroid, inner = moment / mass, edges[1:-1]
        right = _density(inner) * (inner - centroid[:-1]) / mass[:-1]
        left = _density(inner) * (centroid[1:] - inner) / mass[1:]
        bands = np.zeros((3, n))
        bands[1] = 1.0
        bands[1, :-1] -= right / 2
        bands[1, 1:] -= left / 2
        bands[0, 1:] = -right / 2
        bands[2, :-1] = -left / 2
        step = solve_banded((1, 1), bands, gap)
        moved = levels + step
        levels = moved if np.all(np.diff(moved) > 0) else levels + gap  # Newton may overshoot at first; Lloyd's step never does
        levels = (levels - levels[::-1]) / 2
    levels.setflags(write=False)
    return levels


def distortion(levels: np.ndarray) -> float:
    """E[(x - Q(x))^2] of ascending 1-d levels for x ~ N(0, 1), closed form."""
    _, mass, moment = _cells(levels)
    return float(1 - 2 * (levels * moment).sum() + (np.square(levels) * mass).sum())


@cache
def _plane(spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature points [m, 2] and weights [m] (sum 1) of N(0, I_2): centroids and masses of square cells, exact per axis."""
    edges = np.arange(-HALF_WIDTH, HALF_WIDTH + spacing / 2, spacing)
    mass = np.diff(ndtr(edges))
    centre = (_density(edges[:-1]) - _density(edges[1:])) / mass
    points = np.stack(np.meshgrid(centre, centre, indexing="ij"), -1).reshape(-1, 2)
    weights = np.outer(mass, mass).reshape(-1)
    keep = weights > 1e-13
    return points[keep], weights[keep] / weights[keep].sum()


def plane_distortion(grid: np.ndarray, spacing: float = FINE) -> float:
    """Mean squared error per dimension of a 2-d grid [n, 2] for N(0, I_2): quadrature plus the error inside quadrature cells."""
    points, weights = _plane(spacing)
    distance, _ = cKDTree(grid).query(points)
    return float((weights * np.square(distance)).sum() / 2 + spacing**2 / 12)


def lloyd_plane(grid: np.ndarray, spacing: float, iterations: int, tolerance: float) -> np.ndarray:
    """Lloyd's algorithm from `grid` [n, 2] towards a grid whose points are the means of their Voronoi cells under N(0, I_2), float64."""
    points, weights = _plane(spacing)
    n = len(grid)
    for _ in range(iterations):
        _, cell = cKDTree(grid).query(points)
        mass = np.bincount(cell, weights, minlength=n)
        moments = np.stack([np.bincount(cell, weights * points[:, axis], minlength=n) for axis in (0, 1)], 1)
        moved = moments / np.maximum(mass, 1e-300)[:, None]
        empty = mass == 0
        moved[empty] = grid[empty] / 2  # a point beyond all mass moves in
        shift = float(np.abs(moved - grid).max())
        # Over-relaxation: Lloyd's steps shrink linearly, and 1.7 of a step still descends once cells change little.
        grid = grid + 1.7 * (moved - grid) if shift < 0.05 else moved
        if shift < tolerance:
            break
    return moved


@cache
def gaussian_grid(dimensions: int, n: int) -> np.ndarray:
    """The shipped MSE-optimal grid for N(0, I): [n, dimensions] float32. dimensions 1 (n up to 1024) or 2 (n in 16, 64, 256, 1024)."""
    if dimensions == 1:
        grid = lloyd_max(n)[:, None].astype(np.float32)
    elif dimensions == 2:
        with np.load(FILE) as shipped:
            if f"plane{n}" not in shipped:
                sizes = ", ".join(key.removeprefix("plane") for key in shipped.files)
                raise ValueError(f"No 2-d grid of {n} points is shipped; the sizes are {sizes}.")
            grid = shipped[f"plane{n}"].astype(np.float32)
    else:
        raise ValueError(f"Grids have 1 or 2 dimensions, not {dimensions}.")
    grid.setflags(write=False)
    return grid


def main() -> None:
    """Build `grids.npz`: for each size the best of several starts by quadrature distortion, polished."""
    best: dict[str, Any] = {}
    for n, starts in ((16, 30), (64, 30), (256, 20)):
        # Spread like the optimal point density, N(0, 2 I) in the plane, so that few points start in the wrong place.
        drawn = (np.random.default_rng(seed).normal(size=(n, 2)) * np.sqrt(2) for seed in range(starts))
        rough = min((lloyd_plane(grid, COARSE, 300, 1e-3) for grid in drawn), key=lambda grid: plane_distortion(grid, COARSE))
        grid = lloyd_plane(rough, FINE, 150, 2e-4)
        best[f"plane{n}"] = grid[np.lexsort((grid[:, 1], grid[:, 0]))].astype(np.float32)
        print(n, f"{plane_distortion(grid):.6f}", flush=True)
    np.savez_compressed(FILE, **best)


if __name__ == "__main__":
    main()
