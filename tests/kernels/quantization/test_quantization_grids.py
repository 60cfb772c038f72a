"""Grids against published constants, closed forms and the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from kernels.quantization.grids import COARSE, distortion, gaussian_grid, lloyd_max, lloyd_plane, plane_distortion

#: Max 1960, table I (n = 2, 4, 8, 16, 32): mean squared error of the optimal quantizer of a unit normal.
MAX_1960 = {2: 0.3634, 4: 0.1175, 8: 0.03454, 16: 0.009497, 32: 0.002499}


@pytest.mark.parametrize("n", MAX_1960)
def test_lloyd_max_distortion_equals_max_1960(n: int):
    assert distortion(lloyd_max(n)) == pytest.approx(MAX_1960[n], rel=3e-3)  # Max's own table is rounded


def test_lloyd_max_levels_equal_the_published_sixteen():
    published = [0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590]
    np.testing.assert_allclose(lloyd_max(16)[8:], published, atol=1e-6)
    np.testing.assert_allclose(lloyd_max(2), [-np.sqrt(2 / np.pi), np.sqrt(2 / np.pi)], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 3, 16, 256, 1024])
def test_each_level_is_the_mean_of_its_cell_by_numerical_integration(n: int):
    levels = lloyd_max(n)
    edges = np.concatenate([[-12.0], (levels[1:] + levels[:-1]) / 2, [12.0]])
    for i in {0, n // 3, n // 2, n - 1}:
        mass = quad(lambda x: np.exp(-x * x / 2), edges[i], edges[i + 1], epsabs=0, epsrel=1e-11)[0]
        moment = quad(lambda x: x * np.exp(-x * x / 2), edges[i], edges[i + 1], epsabs=1e-13, epsrel=1e-11)[0]
        assert levels[i] == pytest.approx(moment / mass, abs=1e-9)


def test_distortion_equals_a_simulation():
    x = np.random.default_rng(0).normal(size=400_000)
    levels = lloyd_max(8)
    nearest = levels[np.abs(x[:, None] - levels).argmin(1)]
    assert np.mean((x - nearest) ** 2) == pytest.approx(distortion(levels), rel=0.01)


#: per dimension; published CLVQ grids reach .10766, .02962 and .00775, Gaussian rate-distortion is 4^-bits
PLANE = {16: 0.10766, 64: 0.02962, 256: 0.00775}


@pytest.mark.parametrize("n", PLANE)
def test_plane_grids_reach_the_published_distortion(n: int):
    found = plane_distortion(gaussian_grid(2, n).astype(np.float64))
    assert found <= PLANE[n] * 1.005
    assert found > 1 / n
    assert found < distortion(lloyd_max(round(n**0.5)))


def test_plane_distortion_equals_a_simulation():
    x = np.random.default_rng(0).normal(size=(200_000, 2))
    grid = gaussian_grid(2, 16).astype(np.float64)
    error = np.square(x[:, None] - grid).sum(2).min(1).mean() / 2
    assert error == pytest.approx(plane_distortion(grid), rel=0.01)


def test_shipped_plane_grid_is_a_fixed_point_of_lloyds_algorithm():
    grid = gaussian_grid(2, 64).astype(np.float64)
    assert np.abs(lloyd_plane(grid, COARSE, 1, 0.0) - grid).max() < 0.02


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="1 to 1024 levels"):
        lloyd_max(0)
    with pytest.raises(ValueError, match="sizes are 16, 64, 256"):
        gaussian_grid(2, 32)
    with pytest.raises(ValueError, match="1 or 2 dimensions"):
        gaussian_grid(3, 8)
